"""LSTM with coupled input and forget gates."""

import dataclasses

from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax.cells.lstm import LSTMCarry, LSTMCell


@dataclasses.dataclass(frozen=True)
class CoupledLSTMCell(LSTMCell):
    """LSTM with coupled input and forget gates, gates in the order f (keep), g (content), o (read).

        f, o = sigmoid(x w_x + b + h w_h)      g = tanh(x w_x + b + h w_h)
        c' = f c + (1 - f) g
        h' = o tanh(c')

    Carry: h, c [..., H]. Params: w_x [D, 3H], w_h [H, 3H], b [3H].
    Departs from the paper: there are no peepholes.

    Reference: Greff, Srivastava, Koutnik, Steunebrink, Schmidhuber (2017), "LSTM: a search space
    odyssey" (CIFG).
    """

    gates = ("f", "g", "o")
    write_gate = None

    def activations(self, params, carry, x_gates, h_gates):
        """The values of f, g, o."""
        f, g, o = self.split(x_gates + h_gates)
        return sigmoid(f), tanh(g), sigmoid(o)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        f, g, o = self.activations(params, carry, x_gates, h_gates)
        f_logit, *_ = self.split(x_gates + h_gates)
        c = f * carry.c + sigmoid(-f_logit) * g
        return LSTMCarry(h=o * tanh(c), c=c)
