"""Base class of cells that are linear in their state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import expand, widest
from rnn_jax.cells.base import GatedCell, HiddenCarry
from rnn_jax.cells.gate_params import check_key, lecun_normal, per_gate
from rnn_jax.errors import check_size
from rnn_jax.typing import Array, Carry, Float, Inexact, Key, Params


class LinearParams(NamedTuple):
    """Parameters of a linear cell, whose gates depend on the input alone."""

    w_x: Float[Array, "D G*H"]
    b: Float[Array, " G*H"]


class LinearCell(GatedCell):
    """A gated cell that is linear in its state, h' = a h + b, so it can run in parallel over time.

    a and b are elementwise and depend on the input alone, so there is no recurrent matrix. A new
    cell sets `gates` and defines `coefficients`.
    """

    linear = True
    diagonal_jacobian = True

    def init(self, key: Key[Array, ""], input_size: int) -> LinearParams:
        """w_x LeCun normal, gate by gate; b = 0."""
        check_size("input_size", input_size)
        check_key(key)
        size, count = self.hidden_size, len(self.gates)
        w_x = per_gate(lecun_normal, key, input_size, size, count)
        return LinearParams(w_x, jnp.zeros(count * size, jnp.float32))

    def coefficients(
        self, params: Params, x_gates: Float[Array, "... GH"]
    ) -> tuple[Inexact[Array, "... H"], Inexact[Array, "... H"]]:
        """a and b, each [..., H]; a may be [H] if it is the same at every step."""
        raise NotImplementedError

    def state(self, carry: Carry) -> Inexact[Array, "... H"]:
        """The carry as one array, h. It may be complex."""
        return carry.h

    def carry(self, state: Inexact[Array, "... H"]) -> Carry:
        """The carry for `state`, with real fields."""
        return HiddenCarry(state)

    def mix(self, params, carry):
        """An array [..., 0]: the gates do not depend on the carry."""
        return jax.tree.leaves(carry)[0][..., :0]

    def carries(self, params: Params, first: Carry, states: Array, x_gates: Any) -> Carry:
        """The carry after each step, from the state after each step [T, ..., H].

        Wrappers whose carry holds more than the state compute the rest from x_gates and `first`,
        the carry before the first step.
        """
        return self.carry(states)

    def update(self, params, carry, x_gates, h_gates):
        """The equation above."""
        a, b = self.coefficients(params, x_gates)
        state = self.state(carry)
        dtype = widest(a.dtype, b.dtype, state.dtype)
        a, b, state = expand(a.astype(dtype), state), b.astype(dtype), state.astype(dtype)
        return self.carry(a * state + b)
