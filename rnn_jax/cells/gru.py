"""Gated recurrent unit."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax.cell import GatedCell, HiddenCarry, dot
from rnn_jax.typing import Array, Float


class GRUParams(NamedTuple):
    """Weights of a GRU; b_h is the bias that the reset gate can switch off."""

    w_x: Float[Array, "D 3*H"]
    w_h: Float[Array, "H 3*H"]
    b: Float[Array, " 3*H"]
    b_h: Float[Array, " H"]


@dataclasses.dataclass(frozen=True)
class GRUCell(GatedCell):
    """Gated recurrent unit, gates in the order r (reset), z (keep), n (content).

        r, z = sigmoid(x w_x + b + h w_h)
        n = tanh(x w_x + b + r (h w_h + b_h))
        h' = (1 - z) n + z h

    Carry: h [..., H]. Params: w_x [D, 3H], w_h [H, 3H], b [3H], b_h [H].
    Departs from the paper: the reset gate acts after the matrix product, as in cuDNN and PyTorch,
    so that a step needs one product only.

    Reference: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation".
    """

    gates = ("r", "z", "n")

    def init(self, key, input_size):
        """As every gated cell, with b_h = 0."""
        b_h = jnp.zeros(self.hidden_size, jnp.float32)
        return GRUParams(*super().init(key, input_size), b_h=b_h)

    def activations(self, x_gates, h_gates):
        """The values of r, z, n."""
        (x_r, x_z, x_n), (h_r, h_z, h_n) = self.split(x_gates), self.split(h_gates)
        r = sigmoid(x_r + h_r)
        return r, sigmoid(x_z + h_z), tanh(x_n + r * h_n)

    def mix(self, params, carry):
        """`h w_h`, with b_h added to the columns of n."""
        return dot(carry.h, params.w_h) + jnp.pad(params.b_h, (2 * self.hidden_size, 0))

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        _, z, n = self.activations(x_gates, h_gates)
        return HiddenCarry(h=(1 - z) * n + z * carry.h)
