"""The parallel_backward driver: any cell step by step, its backward pass parallel over time."""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax

from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_vectors
from rnn_jax.drivers.auto_axes import scan
from rnn_jax.drivers.base import Driver, given_cell
from rnn_jax.drivers.linearized import outputs, pull_back
from rnn_jax.typing import Array, Carry, Float, Inputs, Params


@dataclasses.dataclass(frozen=True)
class ParallelBackward(Driver):
    """Run any cell with a scan, its backward pass with an associative scan in about log2 T rounds.

    The gradient of a carry is a linear recurrence backward in time, however nonlinear the cell is.
    It takes T Jacobians [n, n] for each example, where n is the size of the carry, and n times the
    work, which is worthwhile for small n on hardware with many cores. The values are those of the
    scan, and unlike Newton's iteration, it cannot fail to converge.

    References: Blelloch (1990), "Prefix sums and their applications"; Wang, Bai, Pekhimenko (2020),
    "BPPSA: scaling back-propagation by parallel scan algorithm".
    """

    name: ClassVar[str] = "parallel_backward"

    def check(self, cell, steps):
        """Raise InputError unless `cell` has no spatial axes and T is fixed."""
        require_vectors("the parallel_backward driver", given_cell(cell), "; use driver='auto'")
        super().check(cell, steps)

    def run(self, cell, params, carry, xs):
        """Run the cell; there is no report."""
        return *parallel_backward(cell, params, carry, xs), None


@partial(jax.jit, static_argnames="cell")
def parallel_backward(
    cell: Cell, params: Params, carry: Carry, xs: Inputs
) -> tuple[Carry, Float[Array, "T ... O"]]:
    """`scan_steps` with a different backward pass, for T > 0."""
    states: Any = _carries(cell, params, carry, xs)
    return outputs(cell, params, carry, states, xs)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _carries(cell, params, carry, xs):
    """The carry after each step."""

    def step(carry, x):
        carry, _ = cell.step(params, carry, x)
        return carry, carry

    return scan(step, carry, xs)[1]


def _forward(cell, params, carry, xs):
    states = _carries(cell, params, carry, xs)
    return states, (params, carry, xs, states)


def _backward(cell, residuals, d_states):
    backward = "diagonal" if cell.diagonal_jacobian else "matrix"
    params, carry, xs, states = residuals
    return pull_back(cell, backward, params, carry, xs, states, d_states)


_carries.defvjp(_forward, _backward)
