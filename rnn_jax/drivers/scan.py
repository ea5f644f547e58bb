"""The reference driver: `jax.lax.scan` over the step of a cell. Every other driver equals it."""

from functools import partial

import jax

from rnn_jax.cells.base import Cell
from rnn_jax.drivers.auto_axes import scan
from rnn_jax.typing import Array, Carry, Float, Inputs, Params


@partial(jax.jit, static_argnames="cell")
def scan_steps(
    cell: Cell, params: Params, carry: Carry, xs: Inputs
) -> tuple[Carry, Float[Array, "T ... O"]]:
    """Run `cell.step` over time; every transformation of JAX works on it."""
    return scan(partial(cell.step, params), carry, xs)
