"""LSTM with peepholes."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax.cells.array_ops import expand
from rnn_jax.cells.lstm import LSTMCell
from rnn_jax.typing import Array, Float


class PeepholeParams(NamedTuple):
    """Parameters of a peephole LSTM; p holds the peephole weights of i, f, o."""

    w_x: Float[Array, "D 4*H"]
    w_h: Float[Array, "H 4*H"]
    b: Float[Array, " 4*H"] | None
    p: Float[Array, "3 H"]


@dataclasses.dataclass(frozen=True)
class PeepholeLSTMCell(LSTMCell):
    """LSTM whose gates depend on the memory cell c, gates in the order i, f, g, o.

        i = sigmoid(x w_x + b + h w_h + p_i c)      f = sigmoid(... + p_f c)      g = tanh(...)
        c' = f c + i g
        o = sigmoid(... + p_o c')
        h' = o tanh(c')

    Carry: h, c [..., H]. Params: w_x [D, 4H], w_h [H, 4H], b [4H], p [3, H] for i, f, o.

    Reference: Gers, Schraudolph, Schmidhuber (2002), "Learning precise timing with LSTM recurrent
    networks".
    """

    elementwise = ("p",)

    def init(self, key, input_size):
        """As for an LSTM, with p = 0."""
        p = jnp.zeros((3, self.hidden_size), jnp.float32)
        params: Any = super().init(key, input_size)
        return PeepholeParams(*params, p=p)

    def activations(self, params, carry, x_gates, h_gates):
        """The values of i, f, g, o."""
        i, f, g, o = self.split(x_gates + h_gates)
        p_i, p_f, p_o = (expand(p, carry.c) for p in params.p)
        i, f, g = sigmoid(i + p_i * carry.c), sigmoid(f + p_f * carry.c), tanh(g)
        return i, f, g, sigmoid(o + p_o * (f * carry.c + i * g))
