"""The names of rnn_jax.training, for type checkers, for editors and for `__init__.py`."""

from .batches import BatchOrder as BatchOrder
from .batches import BucketOrder as BucketOrder
from .batches import StreamOrder as StreamOrder
from .devices.sharding import data_mesh as data_mesh
from .devices.sharding import start_devices as start_devices
from .evaluation import make_predict as make_predict
from .optimizers import make_optimizer as make_optimizer
from .run import Run as Run
from .run import open_run as open_run
from .state import TrainState as TrainState
from .state import init_state as init_state
from .state import model_of as model_of
from .step import TrainStep as TrainStep
from .step import make_train_step as make_train_step
from .trainer import Trainer as Trainer
