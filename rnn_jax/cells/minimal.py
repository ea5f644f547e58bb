"""Cells with fewer gates than a GRU."""

import dataclasses

from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax.cells.base import GatedCell, HiddenCarry


@dataclasses.dataclass(frozen=True)
class MinimalGatedCell(GatedCell):
    """Minimal gated unit, gates in the order f (write), n (content).

        f = sigmoid(x w_x + b + h w_h)
        n = tanh(x w_x + b + f (h w_h))
        h' = (1 - f) h + f n

    Carry: h [..., H]. Params: w_x [D, 2H], w_h [H, 2H], b [2H].
    Departs from the paper: f acts after the matrix product, so that a step takes one product.

    Reference: Zhou, Wu, Zhang, Zhou (2016), "Minimal gated unit for recurrent neural networks".
    """

    gates = ("f", "n")
    write_gate = "f"

    def activations(self, params, carry, x_gates, h_gates):
        """The values of f, n."""
        (x_f, x_n), (h_f, h_n) = self.split(x_gates), self.split(h_gates)
        f = sigmoid(x_f + h_f)
        return f, tanh(x_n + f * h_n)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        f, n = self.activations(params, carry, x_gates, h_gates)
        f_logit, _ = self.split(x_gates + h_gates)
        return HiddenCarry(h=sigmoid(-f_logit) * carry.h + f * n)


@dataclasses.dataclass(frozen=True)
class UGRNNCell(GatedCell):
    """Update gate recurrent network, gates in the order z (keep), n (content).

        z = sigmoid(x w_x + b + h w_h)      n = tanh(x w_x + b + h w_h)
        h' = z h + (1 - z) n

    Carry: h [..., H]. Params: w_x [D, 2H], w_h [H, 2H], b [2H].

    Reference: Collins, Sohl-Dickstein, Sussillo (2017), "Capacity and trainability in recurrent
    neural networks".
    """

    gates = ("z", "n")
    keep_gate = "z"

    def activations(self, params, carry, x_gates, h_gates):
        """The values of z, n."""
        z, n = self.split(x_gates + h_gates)
        return sigmoid(z), tanh(n)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        z, n = self.split(x_gates + h_gates)
        return HiddenCarry(h=sigmoid(z) * carry.h + sigmoid(-z) * tanh(n))
