"""A learned initial carry."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import require_cell
from rnn_jax.typing import Carry, Params
from rnn_jax.wrappers.base import GatedWrapper, Wrapper, wrapper_for


def learned_carry(cell: Cell) -> Cell:
    """A cell whose initial carry is a parameter, shared by all sequences and episodes.

    Params: `LearnedCarryParams`. Its carry has fields [H], initialized to `cell.initial_carry()`.

    Raises:
      InputError: `cell` is not a cell.
    """
    require_cell("learned_carry", cell)
    return wrapper_for(cell, LearnedCarryCell, LearnedCarryGatedCell)(cell)


class LearnedCarryParams(NamedTuple):
    """Parameters of the inner cell, and the initial carry."""

    inner: Params
    carry: Carry


class LearnedCarryCell(Wrapper):
    """The cell that `learned_carry` returns."""

    def init(self, key, input_size):
        """The inner parameters and the inner initial carry."""
        return LearnedCarryParams(self.inner.init(key, input_size), self.initial_carry())

    def inner_params(self, params):
        """The inner cell's parameters."""
        return params.inner

    def with_inner_params(self, params, inner):
        """The same carry with `inner` as the inner parameters."""
        return params._replace(inner=inner)

    def start(self, params, batch_shape=(), dtype=jnp.float32):
        """The learned carry, broadcast to every sequence."""
        return jax.tree.map(
            lambda c: jnp.broadcast_to(c.astype(dtype), (*batch_shape, *c.shape)), params.carry
        )


class LearnedCarryGatedCell(LearnedCarryCell, GatedWrapper):
    """`LearnedCarryCell` for a gated cell."""

    step = GatedCell.step
