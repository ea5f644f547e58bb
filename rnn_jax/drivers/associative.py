"""The associative driver: linear cells in parallel over time, h_t = a_t h_t-1 + b_t."""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import expand, widest
from rnn_jax.cells.base import GatedCell
from rnn_jax.drivers.base import Driver, given_cell
from rnn_jax.drivers.chunking import at
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float, Inexact, Inputs, Params


@dataclasses.dataclass(frozen=True)
class Associative(Driver):
    """Run a linear cell in parallel over time, with an associative scan in about log2 T rounds.

    Reference: Blelloch (1990), "Prefix sums and their applications"; Martin, Cundy (2018),
    "Parallelizing linear recurrent neural nets over sequence length".
    """

    name: ClassVar[str] = "associative"

    def check(self, cell, steps):
        """Raise InputError unless `cell` is a LinearCell, possibly wrapped, and T is fixed."""
        if not getattr(cell, "linear", False):
            raise InputError(
                "the associative driver needs a LinearCell, got "
                f"{type(given_cell(cell)).__name__}; use driver='auto'."
            )
        super().check(cell, steps)

    def run(self, cell, params, carry, xs):
        """Run the cell; there is no report."""
        return *associative(cell, params, carry, xs), None


@partial(jax.jit, static_argnames="cell")
def associative(
    cell: GatedCell, params: Params, carry: Carry, xs: Inputs
) -> tuple[Carry, Float[Array, "T ... O"]]:
    """`scan_steps` for a linear cell and T > 0."""
    linear: Any = cell  # If wrapped, a GatedCell with the methods of a LinearCell.
    x_gates = cell.project(params, xs)
    a, b = linear.coefficients(params, x_gates)
    start = linear.state(carry)
    b = b.astype(widest(b.dtype, start.dtype))
    # A selection, not a broadcast, so that `a` varies over a mesh like `b`.
    a = jnp.where(True, expand(a, b).astype(b.dtype), b)
    carries = linear.carries(params, carry, linear_scan(a, b, start), x_gates)
    return at(carries, -1), cell.readout(params, carries)


@jax.custom_vjp
def linear_scan(
    a: Inexact[Array, "T *N"], b: Inexact[Array, "T *N"], start: Inexact[Array, "*N"]
) -> Inexact[Array, "T *N"]:
    """h_t = a_t h_t-1 + b_t for t = 1 to T, where h_0 is `start`."""
    return elementwise_scan(a, b.at[0].add(a[0] * start.astype(b.dtype)))


def elementwise_scan(
    a: Inexact[Array, "T *N"], b: Inexact[Array, "T *N"], reverse: bool = False
) -> Inexact[Array, "T *N"]:
    """h_t = a_t h_t-1 + b_t for t = 1 to T, from h_0 = 0; with `reverse`, from the last step."""

    def join(early, late):
        # Where a is 0, as between episodes, NaNs of earlier steps must not reach later ones.
        def decayed(past):
            return jnp.where(late[0] == 0, 0, past * late[0])

        return decayed(early[0]), decayed(early[1]) + late[1]

    return jax.lax.associative_scan(join, (a, b), reverse=reverse)[1]


def _forward(a, b, start):
    states = linear_scan(a, b, start)
    return states, (a, start, states)


def _backward(residuals, d_states):
    """The adjoint, a linear scan backward in time: d_t = d_states_t + a_t+1 d_t+1."""
    a, start, states = residuals
    after = jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])
    d = elementwise_scan(after, d_states, reverse=True)
    past = jnp.concatenate([start[None], states[:-1]])
    return d * past, d, d[0] * a[0]


linear_scan.defvjp(_forward, _backward)
