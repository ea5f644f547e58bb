"""Cell definitions: equations only. To add a cell, add a file here and an entry in `CELLS`."""

from rnn_jax.cells.convolutional import ConvLSTMCell
from rnn_jax.cells.coupled import CoupledLSTMCell
from rnn_jax.cells.ctrnn import CTRNNCell
from rnn_jax.cells.delta_net import DeltaNetCell, GatedDeltaNetCell
from rnn_jax.cells.diagonal_ssm import S5Cell
from rnn_jax.cells.elman import IRNNCell, RNNCell
from rnn_jax.cells.exponential import SLSTMCell
from rnn_jax.cells.gru import GRUCell, GRUParams, ResetBeforeGRUCell
from rnn_jax.cells.independent import IndRNNCell
from rnn_jax.cells.lem import LEMCell
from rnn_jax.cells.linear import LRUCell, MinGRUCell, MinLSTMCell, RGLRUCell
from rnn_jax.cells.lmu import LMUCell
from rnn_jax.cells.lstm import LSTMCarry, LSTMCell
from rnn_jax.cells.minimal import MinimalGatedCell, UGRNNCell
from rnn_jax.cells.mlstm import MLSTMCell
from rnn_jax.cells.ode import AntisymmetricRNNCell, CoRNNCell
from rnn_jax.cells.peephole import PeepholeLSTMCell
from rnn_jax.cells.projected import ProjectedLSTMCell

CELLS = {
    "lstm": LSTMCell,
    "gru": GRUCell,
    "rnn": RNNCell,
    "irnn": IRNNCell,
    "indrnn": IndRNNCell,
    "peephole": PeepholeLSTMCell,
    "projected": ProjectedLSTMCell,
    "coupled": CoupledLSTMCell,
    "slstm": SLSTMCell,
    "mlstm": MLSTMCell,
    "gru-reset-before": ResetBeforeGRUCell,
    "minimal": MinimalGatedCell,
    "ugrnn": UGRNNCell,
    "antisymmetric": AntisymmetricRNNCell,
    "cornn": CoRNNCell,
    "ctrnn": CTRNNCell,
    "lem": LEMCell,
    "lmu": LMUCell,
    "lru": LRUCell,
    "s5": S5Cell,
    "mingru": MinGRUCell,
    "minlstm": MinLSTMCell,
    "rglru": RGLRUCell,
    "deltanet": DeltaNetCell,
    "gated-deltanet": GatedDeltaNetCell,
}
"""Cells for sequences of vectors, keyed by their names on the command line."""

__all__ = [
    "CELLS",
    "AntisymmetricRNNCell",
    "CTRNNCell",
    "CoRNNCell",
    "ConvLSTMCell",
    "CoupledLSTMCell",
    "DeltaNetCell",
    "GRUCell",
    "GRUParams",
    "GatedDeltaNetCell",
    "IRNNCell",
    "IndRNNCell",
    "LEMCell",
    "LMUCell",
    "LRUCell",
    "LSTMCarry",
    "LSTMCell",
    "MLSTMCell",
    "MinGRUCell",
    "MinLSTMCell",
    "MinimalGatedCell",
    "PeepholeLSTMCell",
    "ProjectedLSTMCell",
    "RGLRUCell",
    "RNNCell",
    "ResetBeforeGRUCell",
    "S5Cell",
    "SLSTMCell",
    "UGRNNCell",
]
