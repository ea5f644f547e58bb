"""Sequences of different lengths: a cell that holds its carry still once a sequence has ended.

Masking is a cell around a cell, so every driver handles it and none knows of it. The input of a
masked cell is the pair (x [..., D], keep [...]).
"""

import dataclasses

import jax
import jax.numpy as jnp

from rnn_jax.cell import Cell, GatedCell, GatedWrapper
from rnn_jax.typing import Array, Carry, Float, Int, Shaped


def keep_mask(lengths: Int[Array, "..."], steps: int) -> Float[Array, "{steps} ..."]:
    """1 where step t belongs to the sequence, t < length, else 0: [T, ...].

    A float, since it travels with the inputs and every input has a gradient; that of a mask is 0.
    """
    return (jnp.arange(steps).reshape(-1, *(1,) * lengths.ndim) < lengths).astype(jnp.float32)


def select(
    keep: Float[Array, "..."], new: Shaped[Array, "... H"], old: Shaped[Array, "... H"] | float
) -> Shaped[Array, "... H"]:
    """`new` where the step counts, `old` where it is padding."""
    return jnp.where(keep[..., None] > 0, new, old)


def hold(keep: Float[Array, "..."], new: Carry, old: Carry) -> Carry:
    """`select` on every field of a carry."""
    return jax.tree.map(lambda n, o: select(keep, n, o), new, old)


def masked(cell: Cell) -> Cell:
    """The cell that takes (x, keep), does what `cell` does where keep, and else changes nothing.

    Padding is replaced by zeros before the cell sees it: whatever it holds, NaN included, reaches
    neither values nor gradients.
    """
    wrapper = MaskedGatedCell if isinstance(cell, GatedCell) else MaskedCell
    return wrapper(cell.hidden_size, cell)


@dataclasses.dataclass(frozen=True)
class MaskedCell(Cell):
    """`masked` for a cell that is nothing but a step."""

    inner: Cell

    def step(self, params, carry, x):
        """The inner step, undone where x is padding."""
        x, keep = x
        new, y = self.inner.step(params, carry, select(keep, x, 0))
        return hold(keep, new, carry), y


class MaskedGatedCell(GatedWrapper):
    """`masked` for a gated cell: still three parts, so still fast."""

    def project(self, params, xs):
        """The inner projection, and the mask alongside."""
        xs, keep = xs
        return self.inner.project(params, select(keep, xs, 0)), keep

    def update(self, params, carry, x_gates, h_gates):
        """The inner update, undone where the input is padding."""
        x_gates, keep = x_gates
        return hold(keep, super().update(params, carry, x_gates, h_gates), carry)

    def activations(self, x_gates, h_gates):
        """The inner gates, zero where the input is padding."""
        x_gates, keep = x_gates
        return tuple(select(keep, gate, 0) for gate in super().activations(x_gates, h_gates))
