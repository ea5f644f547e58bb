"""Long expressive memory."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax.cells.array_ops import dot, expand
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.gate_params import check_key, lecun_normal, orthogonal, per_gate
from rnn_jax.errors import check_size
from rnn_jax.typing import Array, ArrayInit, Float


class LEMCarry(NamedTuple):
    """The output h and the slow state z of an LEM."""

    h: Float[Array, "... H"]
    z: Float[Array, "... H"]


class LEMParams(NamedTuple):
    """Parameters of an LEM; w_z multiplies the new slow state."""

    w_x: Float[Array, "D 4*H"]
    w_h: Float[Array, "H 3*H"]
    w_z: Float[Array, "H H"]
    b: Float[Array, " 4*H"]


@dataclasses.dataclass(frozen=True)
class LEMCell(Cell):
    """Long expressive memory, gates in the order d (step of z), e (step of h), z, h.

        d, e = step_size sigmoid(x w_x + b + h w_h)
        z' = (1 - d) z + d tanh(x w_x + b + h w_h)
        h' = (1 - e) h + e tanh(x w_x + b + z' w_z)

    Carry: h, z [..., H]. Params: w_x [D, 4H], w_h [H, 3H], w_z [H, H], b [4H].
    A step takes two products, and the second depends on the first, so this is not a `GatedCell`.

    Args:
      step_size: the maximum step of the discretization, Δt in the paper.

    Reference: Rusch, Mishra, Erichson, Mahoney (2022), "Long expressive memory for sequence
    modeling".
    """

    step_size: float = 1.0
    kernel_init: ArrayInit = dataclasses.field(default=lecun_normal, repr=False)
    recurrent_init: ArrayInit = dataclasses.field(default=orthogonal, repr=False)
    gates = ("d", "e", "z", "h")
    carry_type = LEMCarry
    initial_carry = GatedCell.initial_carry
    input_size = GatedCell.input_size

    def init(self, key, input_size):
        """w_x from `kernel_init`, w_h and w_z from `recurrent_init`, gate by gate; b = 0."""
        check_size("input_size", input_size)
        check_key(key)
        key_x, key_h = jax.random.split(key)
        size = self.hidden_size
        recurrent = per_gate(self.recurrent_init, key_h, size, size, 4)
        return LEMParams(
            w_x=per_gate(self.kernel_init, key_x, input_size, size, 4),
            w_h=recurrent[:, : 3 * size],
            w_z=recurrent[:, 3 * size :],
            b=jnp.zeros(4 * size, jnp.float32),
        )

    def step(self, params, carry, x):
        """The equations above."""
        x_gates = dot(x, params.w_x)
        x_d, x_e, x_z, x_h = jnp.split(x_gates + expand(params.b, x_gates), 4, axis=-1)
        h_d, h_e, h_z = jnp.split(dot(carry.h, params.w_h), 3, axis=-1)
        d, e = self.step_size * sigmoid(x_d + h_d), self.step_size * sigmoid(x_e + h_e)
        z = (1 - d) * carry.z + d * tanh(x_z + h_z)
        h = (1 - e) * carry.h + e * tanh(x_h + dot(z, params.w_z))
        return LEMCarry(h, z), h
