"""The reference driver: `jax.lax.scan` over the step of a cell. All other drivers match it."""

import dataclasses
from functools import partial
from typing import ClassVar

import jax

from rnn_jax.cells.base import Cell
from rnn_jax.drivers.auto_axes import scan
from rnn_jax.drivers.base import Driver
from rnn_jax.typing import Array, Carry, Float, Inputs, Params


@dataclasses.dataclass(frozen=True)
class Scan(Driver):
    """The reference driver: `jax.lax.scan` over `cell.step`, for any cell.

    It is the only driver with forward-mode derivatives.
    """

    name: ClassVar[str] = "scan"

    def check(self, cell, steps):
        """Accept any cell and any number of steps."""

    def run(self, cell, params, carry, xs):
        """Run the cell; there is no report."""
        return *scan_steps(cell, params, carry, xs), None


@partial(jax.jit, static_argnames="cell")
def scan_steps(
    cell: Cell, params: Params, carry: Carry, xs: Inputs
) -> tuple[Carry, Float[Array, "T ... O"]]:
    """Run `cell.step` over time; all JAX transformations are supported."""
    return scan(partial(cell.step, params), carry, xs)
