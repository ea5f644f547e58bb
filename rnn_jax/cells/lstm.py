"""Long short-term memory."""

import dataclasses
from typing import NamedTuple

from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax.cells.base import GatedCell
from rnn_jax.cells.gate_params import gate_bias, lecun_normal, orthogonal
from rnn_jax.typing import Array, ArrayInit, Float


class LSTMCarry(NamedTuple):
    """The output h and the memory cell c of an LSTM."""

    h: Float[Array, "... H"]
    c: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class LSTMCell(GatedCell):
    """Long short-term memory, gates in the order i (write), f (keep), g (content), o (read).

        i, f, o = sigmoid(x w_x + b + h w_h)      g = tanh(x w_x + b + h w_h)
        c' = f c + i g
        h' = o tanh(c')

    Carry: h, c [..., H]. Params: w_x [D, 4H], w_h [H, 4H], b [4H].
    b starts at `forget_bias` for f and is trained. There are no peepholes.

    Args:
      forget_bias: initial bias of the gate f.
      use_bias: False leaves out b, including `forget_bias`.
      kernel_init, recurrent_init: initializers of w_x and w_h, called once for each gate.

    References: Hochreiter, Schmidhuber (1997), "Long short-term memory"; Gers, Schmidhuber,
    Cummins (2000), "Learning to forget: continual prediction with LSTM" (the forget gate);
    Jozefowicz, Zaremba, Sutskever (2015), "An empirical exploration of recurrent network
    architectures" (its bias).
    """

    forget_bias: float = 1.0
    use_bias: bool = True
    kernel_init: ArrayInit = dataclasses.field(default=lecun_normal, repr=False)
    recurrent_init: ArrayInit = dataclasses.field(default=orthogonal, repr=False)
    gates = ("i", "f", "g", "o")
    keep_gate, write_gate = "f", "i"
    carry_type = LSTMCarry

    def init(self, key, input_size):
        """As for every gated cell, with b = forget_bias for gate f."""
        params = super().init(key, input_size)
        return gate_bias(self, params, "f", self.forget_bias) if self.use_bias else params

    def activations(self, params, carry, x_gates, h_gates):
        """The values of i, f, g, o."""
        i, f, g, o = self.split(x_gates + h_gates)
        return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        i, f, g, o = self.activations(params, carry, x_gates, h_gates)
        c = f * carry.c + i * g
        return LSTMCarry(h=o * tanh(c), c=c)
