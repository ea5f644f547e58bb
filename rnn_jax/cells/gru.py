"""Gated recurrent unit."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax.cells.array_ops import dot, expand
from rnn_jax.cells.base import Cell, GatedCell, HiddenCarry
from rnn_jax.cells.gate_params import lecun_normal, orthogonal
from rnn_jax.typing import Array, ArrayInit, Float


class GRUParams(NamedTuple):
    """Parameters of a GRU; b_h is the bias that the reset gate multiplies."""

    w_x: Float[Array, "D 3*H"]
    w_h: Float[Array, "H 3*H"]
    b: Float[Array, " 3*H"] | None
    b_h: Float[Array, " H"] | None


@dataclasses.dataclass(frozen=True)
class GRUCell(GatedCell):
    """Gated recurrent unit, gates in the order r (reset), z (keep), n (content).

        r, z = sigmoid(x w_x + b + h w_h)
        n = tanh(x w_x + b + r (h w_h + b_h))
        h' = (1 - z) n + z h

    Carry: h [..., H]. Params: w_x [D, 3H], w_h [H, 3H], b [3H], b_h [H].
    Departs from the paper: the reset gate acts after the matrix product, as in cuDNN and PyTorch,
    so that a step takes one matrix product.

    Args:
      use_bias: False leaves out b and b_h.
      kernel_init, recurrent_init: initializers of w_x and w_h, called once for each gate.

    Reference: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation".
    """

    use_bias: bool = True
    kernel_init: ArrayInit = dataclasses.field(default=lecun_normal, repr=False)
    recurrent_init: ArrayInit = dataclasses.field(default=orthogonal, repr=False)
    gates = ("r", "z", "n")
    keep_gate = "z"

    def init(self, key, input_size):
        """As for every gated cell, with b_h = 0."""
        b_h = jnp.zeros(self.hidden_size, jnp.float32) if self.use_bias else None
        return GRUParams(*super().init(key, input_size), b_h=b_h)

    def activations(self, params, carry, x_gates, h_gates):
        """The values of r, z, n."""
        (x_r, x_z, x_n), (h_r, h_z, h_n) = self.split(x_gates), self.split(h_gates)
        r = sigmoid(x_r + h_r)
        return r, sigmoid(x_z + h_z), tanh(x_n + r * h_n)

    def mix(self, params, carry):
        """`h w_h`, with b_h added to the columns of n."""
        gates = dot(carry.h, params.w_h)
        if params.b_h is None:
            return gates
        return gates + expand(jnp.pad(params.b_h, (2 * self.hidden_size, 0)), gates)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        _, z, n = self.activations(params, carry, x_gates, h_gates)
        _, z_logit, _ = self.split(x_gates + h_gates)
        return HiddenCarry(h=sigmoid(-z_logit) * n + z * carry.h)


@dataclasses.dataclass(frozen=True)
class ResetBeforeGRUCell(Cell):
    """Gated recurrent unit as in the paper, gates in the order r (reset), z (keep), n (content).

        r, z = sigmoid(x w_x + b + h w_h)
        n = tanh(x w_x + b + (r h) w_h)
        h' = (1 - z) n + z h

    Carry: h [..., H]. Params: w_x [D, 3H], w_h [H, 3H], b [3H].
    A step takes two products, and the second depends on the first, so this is not a `GatedCell`.

    Args:
      use_bias: False leaves out b.
      kernel_init, recurrent_init: initializers of w_x and w_h, called once for each gate.

    Reference: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation".
    """

    use_bias: bool = True
    kernel_init: ArrayInit = dataclasses.field(default=lecun_normal, repr=False)
    recurrent_init: ArrayInit = dataclasses.field(default=orthogonal, repr=False)
    gates = ("r", "z", "n")
    keep_gate = "z"
    init = GatedCell.init
    initial_carry = GatedCell.initial_carry
    input_size = GatedCell.input_size
    carry_type = HiddenCarry

    def step(self, params, carry, x):
        """The equations above."""
        w_r, w_z, w_n = jnp.split(params.w_h, 3, axis=-1)
        project: Any = GatedCell.project
        x_r, x_z, x_n = jnp.split(project(self, params, x), 3, axis=-1)
        r, z_logit = sigmoid(x_r + dot(carry.h, w_r)), x_z + dot(carry.h, w_z)
        n = tanh(x_n + dot(r * carry.h, w_n))
        h = sigmoid(-z_logit) * n + sigmoid(z_logit) * carry.h
        return HiddenCarry(h), h
