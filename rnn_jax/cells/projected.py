"""LSTM with a recurrent projection."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import dot
from rnn_jax.cells.gate_params import lecun_normal, per_gate
from rnn_jax.cells.lstm import LSTMCell
from rnn_jax.errors import check_size
from rnn_jax.typing import Array, ArrayInit, Float


class ProjectedLSTMParams(NamedTuple):
    """Parameters of a projected LSTM; w_p is the projection."""

    w_x: Float[Array, "D 4*H"]
    w_h: Float[Array, "O 4*H"]
    b: Float[Array, " 4*H"] | None
    w_p: Float[Array, "H O"]


@dataclasses.dataclass(frozen=True)
class ProjectedLSTMCell(LSTMCell):
    """LSTM whose output is a projection of o tanh(c), gates in the order i, f, g, o.

        i, f, o = sigmoid(x w_x + b + y w_h)      g = tanh(x w_x + b + y w_h)
        c' = f c + i g      h' = o tanh(c')
        y' = h' w_p

    Carry: h, c [..., H]. Params: w_x [D, 4H], w_h [O, 4H], b [4H], w_p [H, O]. Outputs [..., O],
    O = `projection`, by default half of H.
    The carry holds h instead of y, so a step computes the projection twice.
    Departs from the paper: there are no peepholes and no non-recurrent projection.

    Reference: Sak, Senior, Beaufays (2014), "Long short-term memory recurrent neural network
    architectures for large scale acoustic modeling".
    """

    recurrent_init: ArrayInit = dataclasses.field(default=lecun_normal, repr=False)
    projection: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.projection is not None:
            check_size("projection", self.projection)

    @property
    def output_size(self):
        """The output size O."""
        return self.projection or max(1, self.hidden_size // 2)

    def init(self, key, input_size):
        """As for an LSTM, with w_p LeCun normal."""
        key, key_h, key_p = jax.random.split(key, 3)
        w_x, _, b = super().init(key, input_size)
        w_h = per_gate(self.recurrent_init, key_h, self.output_size, self.hidden_size, 4)
        w_p = lecun_normal(key_p, (self.hidden_size, self.output_size), jnp.float32)
        return ProjectedLSTMParams(w_x, w_h, b, w_p)

    def mix(self, params, carry):
        """`y w_h`."""
        return dot(dot(carry.h, params.w_p), params.w_h)

    def readout(self, params, carry):
        """The output y."""
        return dot(carry.h, params.w_p)
