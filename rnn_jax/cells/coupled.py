"""Long short-term memory that forgets where it writes."""

import dataclasses

from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax.cell import GatedCell
from rnn_jax.cells.lstm import LSTMCarry
from rnn_jax.initializers import gate_bias


@dataclasses.dataclass(frozen=True)
class CoupledLSTMCell(GatedCell):
    """LSTM with coupled input and forget gates, gates in the order f (keep), g (content), o (read).

        f, o = sigmoid(x w_x + b + h w_h)      g = tanh(x w_x + b + h w_h)
        c' = f c + (1 - f) g
        h' = o tanh(c')

    Carry: h, c [..., H]. Params: w_x [D, 3H], w_h [H, 3H], b [3H].

    Reference: Greff, Srivastava, Koutnik, Steunebrink, Schmidhuber (2017), "LSTM: a search space
    odyssey" (CIFG).
    """

    forget_bias: float = 1.0
    gates = ("f", "g", "o")
    keep_gate = "f"
    carry_type = LSTMCarry

    def init(self, key, input_size):
        """As every gated cell, with b = forget_bias for the gate f."""
        return gate_bias(self, super().init(key, input_size), "f", self.forget_bias)

    def activations(self, params, carry, x_gates, h_gates):
        """The values of f, g, o."""
        f, g, o = self.split(x_gates + h_gates)
        return sigmoid(f), tanh(g), sigmoid(o)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        f, g, o = self.activations(params, carry, x_gates, h_gates)
        c = f * carry.c + (1 - f) * g
        return LSTMCarry(h=o * tanh(c), c=c)
