"""A start that is learned."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell
from rnn_jax.typing import Carry, Params
from rnn_jax.wrappers.base import GatedWrapper, Wrapper, wrapper_for


def learned_carry(cell: Cell) -> Cell:
    """The cell whose first carry is a parameter, the same for every sequence and every episode.

    Params: `LearnedCarryParams`, the carry [H] in each field, at first `cell.initial_carry`.

    Raises:
      InputError: not a cell.
    """
    require_cell("learned_carry", cell)
    return wrapper_for(cell, LearnedCarryCell, LearnedCarryGatedCell)(cell)


class LearnedCarryParams(NamedTuple):
    """Parameters of the inner cell, and the carry to start from."""

    inner: Params
    carry: Carry


class _LearnedCarry:
    """What both forms share."""

    def init(self, key, input_size):
        """The inner parameters, and the inner initial carry."""
        return LearnedCarryParams(self.inner.init(key, input_size), self.initial_carry())

    def inner_params(self, params):
        """The inner cell's parameters."""
        return params.inner

    def with_inner_params(self, params, inner):
        """The same start for other parameters."""
        return params._replace(inner=inner)

    def start(self, params, batch_shape=(), dtype=jnp.float32):
        """The learned carry for each sequence."""
        return jax.tree.map(
            lambda c: jnp.broadcast_to(c.astype(dtype), (*batch_shape, *c.shape)), params.carry
        )


class LearnedCarryCell(_LearnedCarry, Wrapper):
    """`learned_carry` for a cell that is nothing but a step."""


class LearnedCarryGatedCell(_LearnedCarry, GatedWrapper):
    """`learned_carry` for a gated cell."""
