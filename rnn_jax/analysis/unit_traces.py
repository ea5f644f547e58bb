"""Derivatives of cells in which a parameter affects only one unit within a step."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float, Inputs, Params

DRAWS = 3
"""Random points at which derivatives are evaluated: a rectified unit may be off at one of them."""


def block_of_units(function: Callable[[Params], Carry], params: Params) -> Params:
    """Derivatives of each field, [F, *shape], where a parameter affects one unit of each."""
    carry, back = jax.vjp(function, params)
    leaves, structure = jax.tree.flatten(carry)

    def field(row):
        ones = [jnp.full_like(leaf, 1) * one for leaf, one in zip(leaves, row, strict=True)]
        return back(structure.unflatten(ones))[0]

    return jax.vmap(field)(jnp.eye(len(leaves), dtype=leaves[0].dtype))


def units_by_unit(function: Callable[[Carry], Carry], carry: Carry) -> Float[Array, "F F H"]:
    """∂ field f / ∂ field g of each unit, of a function that is elementwise over units."""
    _, push = jax.linearize(function, carry)
    leaves, structure = jax.tree.flatten(carry)

    def field(row):
        ones = [jnp.full_like(leaf, 1) * one for leaf, one in zip(leaves, row, strict=True)]
        return jnp.stack(jax.tree.leaves(push(structure.unflatten(ones))))

    return jax.vmap(field, out_axes=1)(jnp.eye(len(leaves), dtype=leaves[0].dtype))


def unit_of(caller: str, cell: Cell, params: Params, x: Inputs) -> Params:
    """The unit that each parameter affects within a step: integers that broadcast to its shape.

    Raises:
      InputError: a parameter that affects several units, or fields of different widths.
    """
    leaves, structure = jax.tree.flatten(params)
    shapes = tuple(jnp.shape(leaf) for leaf in leaves)
    units = _units(cell, structure, shapes, jnp.shape(x))
    if units is None:
        raise InputError(
            f"{caller} needs a cell in which a parameter moves one unit of each field within a "
            f"step, but {type(cell).__name__} is not one; use UORO() or RTRL()."
        )
    return structure.unflatten(units)


@lru_cache(maxsize=256)
def _units(cell: Cell, structure: Any, shapes: tuple, x_shape: tuple) -> list | None:
    """Units from nonzero derivatives at random points; None if the cell is not of this kind."""
    widths = {leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(cell.initial_carry))}
    if cell.spatial_axes or len(widths) != 1:
        return None
    moved: list = [False] * len(shapes)
    rng = np.random.default_rng(0)
    with jax.ensure_compile_time_eval():
        for _ in range(DRAWS):
            params = structure.unflatten([_normal(rng, shape) for shape in shapes])
            carry = jax.tree.map(lambda leaf: _normal(rng, leaf.shape), cell.initial_carry())
            x = _normal(rng, x_shape)
            jacobian = jax.jacrev(lambda p, c=carry, x=x: _stacked(cell.step(p, c, x)[0]))(params)
            pairs = zip(moved, jax.tree.leaves(jacobian), strict=True)
            moved = [old | (np.asarray(leaf) != 0).any(0) for old, leaf in pairs]
    if any((leaf.sum(0) > 1).any() for leaf in moved):
        return None
    return [_shared(np.where(leaf.any(0), leaf.argmax(0), -1)) for leaf in moved]


def _normal(rng, shape):
    return jnp.asarray(0.5 * rng.normal(size=shape), jnp.float32)


def _stacked(carry):
    return jnp.stack(jax.tree.leaves(carry))


def _shared(unit):
    """Units [1, ..., N] if the last axis determines them; -1, for no unit, becomes any unit."""
    row = unit.max(tuple(range(unit.ndim - 1)), keepdims=True, initial=-1)
    shared = np.all((unit == row) | (unit < 0))
    return np.maximum(row if shared else unit, 0)
