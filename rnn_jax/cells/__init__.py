"""The cells: equations only. A new cell is one file here and one row in `CELLS`."""

from rnn_jax.cells.gru import GRUCell, GRUParams
from rnn_jax.cells.lstm import LSTMCarry, LSTMCell
from rnn_jax.cells.vanilla import RNNCell

CELLS = {"lstm": LSTMCell, "rnn": RNNCell, "gru": GRUCell}

__all__ = ["CELLS", "GRUCell", "GRUParams", "LSTMCarry", "LSTMCell", "RNNCell"]
