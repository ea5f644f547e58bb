"""Recordings of a run: the carry and the gates of a cell at every step."""

from collections.abc import Mapping
from functools import partial

import jax
import numpy as np
from numpy.typing import ArrayLike

from rnn_jax.cells.array_ops import join_fields
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.auto_axes import scan
from rnn_jax.drivers.linearized import split_fields
from rnn_jax.drivers.unroll import DriverLike, unroll
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Key, Params
from rnn_jax.wrappers.base import GatedWrapper, Wrapper, wrapper_for


def unroll_carries(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    lengths: Int[Array, "..."] | None = None,
    mask: Bool[Array, "T ..."] | None = None,
    resets: Bool[Array, "T ..."] | None = None,
    reverse: bool = False,
    key: Key[Array, ""] | None = None,
    driver: DriverLike = "auto",
) -> Carry:
    """The carry after each step, fields [T, ..., H]; zeros at invalid steps.

    Arguments and errors are those of `unroll`.
    """
    require_cell("unroll_carries", cell, has_params=True)
    outward = wrapper_for(cell, _CarryOut, _GatedCarryOut)(cell)
    last, joined = unroll(
        outward,
        params,
        xs,
        carry,
        lengths=lengths,
        mask=mask,
        resets=resets,
        reverse=reverse,
        key=key,
        driver=driver,
    )
    return split_fields(joined, last)


class _CarryOut(Wrapper):
    """A cell whose output is its whole carry, its fields concatenated."""

    def step(self, params, carry, x):
        carry, _ = self.inner.step(params, carry, x)
        return carry, join_fields(carry)


class _GatedCarryOut(GatedWrapper):
    """`_CarryOut` for a gated cell."""

    def readout(self, params, carry):
        return join_fields(carry)


def gate_activations(
    cell: GatedCell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    lengths: Int[Array, "..."] | None = None,
    mask: Bool[Array, "T ..."] | None = None,
    resets: Bool[Array, "T ..."] | None = None,
    reverse: bool = False,
    key: Key[Array, ""] | None = None,
) -> dict[str, Float[Array, "T ... H"]]:
    """The values of each gate at each step, by name; zeros at invalid steps.

    Arguments are those of `unroll`.

    Raises:
      InputError: as in `unroll`; a cell without gates, or without a method `activations`.
    """
    require_cell("gate_activations", cell, has_params=True)
    if not isinstance(cell, GatedCell):
        raise InputError(
            f"gate_activations needs a GatedCell, got {type(cell).__name__}; use unroll_carries."
        )
    run = prepare(
        cell,
        params,
        xs,
        carry,
        lengths=lengths,
        mask=mask,
        resets=resets,
        reverse=reverse,
        key=key,
    )
    last, values = _activations(run.cell, run.params, run.carry, run.xs)
    return {
        gate: run.finish(last, value)[1] for gate, value in zip(cell.gates, values, strict=True)
    }


@partial(jax.jit, static_argnames="cell")
def _activations(cell, params, carry, xs):
    """The final carry, and the values of each gate at each step."""

    def step(carry, x):
        x_gates, h_gates = cell.project(params, x), cell.mix(params, carry)
        values = cell.activations(params, carry, x_gates, h_gates)
        after = cell.update(params, carry, x_gates, h_gates)
        return after, tuple(values)

    return scan(step, carry, xs)


def has_activations(cell: Cell) -> bool:
    """True if the cell inside all wrappers implements `activations`."""
    if isinstance(cell, Wrapper):
        return has_activations(cell.inner)
    return isinstance(cell, GatedCell) and type(cell).activations is not GatedCell.activations


def open_and_shut(cell: GatedCell, values: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """The gates of `gate_activations` with values in [0, 1], named by role: "keep (f)"."""
    roles = {cell.keep_gate: "keep", cell.write_gate: "write", "o": "read", "r": "reset"}
    return {
        f"{roles[name]} ({name})" if name in roles else name: value
        for name, value in values.items()
        if np.size(value) and np.min(value) >= 0 and np.max(value) <= 1
    }
