"""Sequences of different lengths, and episodes: a cell that holds its carry still, or starts anew.

Both are cells around a cell, so every driver handles them and none knows of them. Masks are floats
since they travel with the inputs and every input has a gradient; that of a mask is 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import expand, widest
from rnn_jax.cells.base import Cell
from rnn_jax.typing import Array, Carry, Float, Int, Shaped
from rnn_jax.wrappers.base import GatedWrapper, Wrapper, wrapper_for


def keep_mask(lengths: Int[Array, "..."], steps: int) -> Float[Array, "{steps} ..."]:
    """1 where step t belongs to the sequence, t < length, else 0: [T, ...]."""
    times = jnp.arange(steps, dtype=lengths.dtype).reshape(steps, *(1,) * lengths.ndim)
    return (times < lengths[None]).astype(jnp.float32)


def select(
    keep: Float[Array, "..."], new: Shaped[Array, "... H"], old: Shaped[Array, "... H"] | float
) -> Shaped[Array, "... H"]:
    """`new` where the step counts, `old` where it is padding."""
    keep = keep[..., None]
    if not isinstance(old, int | float):
        dtype = widest(new.dtype, old.dtype)
        new, old = new.astype(dtype), old.astype(dtype)
    return jnp.where(keep > 0, expand(new, keep), old)


def hold(keep: Float[Array, "..."], new: Carry, old: Carry) -> Carry:
    """`select` on every field of a carry."""
    return jax.tree.map(lambda n, o: select(keep, n, o), new, old)


def masked(cell: Cell) -> Cell:
    """The cell that takes (x, keep) and keeps its carry where keep is 0, where x must be finite."""
    return wrapper_for(cell, MaskedCell, MaskedGatedCell)(cell)


class MaskedCell(Wrapper):
    """`masked` for a cell that is nothing but a step."""

    def step(self, params, carry, x):
        """The inner step, undone where x is padding."""
        x, keep = x
        new, y = self.inner.step(params, carry, x)
        return hold(keep, new, carry), y


class MaskedGatedCell(GatedWrapper):
    """`masked` for a gated cell: still three parts, so still fast."""

    def project(self, params, xs):
        """The inner projection, and the mask alongside."""
        xs, keep = xs
        return self.inner.project(params, xs), keep

    def update(self, params, carry, x_gates, h_gates):
        """The inner update, undone where the input is padding."""
        x_gates, keep = x_gates
        return hold(keep, super().update(params, carry, x_gates, h_gates), carry)

    def coefficients(self, params, x_gates):
        """The inner coefficients, and 1 and 0 where the input is padding."""
        x_gates, keep = x_gates
        a, b = super().coefficients(params, x_gates)
        return select(keep, a, 1), select(keep, b, 0)

    def activations(self, params, carry, x_gates, h_gates):
        """The inner gates, zero where the input is padding."""
        x_gates, keep = x_gates
        values = super().activations(params, carry, x_gates, h_gates)
        return tuple(select(keep, gate, 0) for gate in values)


class EpisodeCarry(NamedTuple):
    """The carry that a step left, and the one that the next step begins with."""

    left: Carry
    begin: Carry


def episodic(cell: Cell) -> Cell:
    """The cell that takes (x, ends) and starts anew after each step with `ends` [..., 1].

    Its carry is an `EpisodeCarry`. Both are kept, since what a step left is still read out, and
    must reach neither the matrix product of the next step nor its gradient where an episode ended.
    """
    return wrapper_for(cell, EpisodicCell, EpisodicGatedCell)(cell)


def _next(cell, params, ends, left):
    batch_shape = jax.tree.leaves(left)[0].shape[:-1]
    fresh = cell.start(params, batch_shape, jax.tree.leaves(left)[0].dtype)
    return EpisodeCarry(left, hold(ends[..., 0], fresh, left))


class EpisodicCell(Wrapper):
    """`episodic` for a cell that is nothing but a step."""

    def step(self, params, carry, x):
        """The inner step, and a fresh start after it where an episode ends."""
        x, ends = x
        left, y = self.inner.step(params, carry.begin, x)
        return _next(self.inner, params, ends, left), y


class EpisodicGatedCell(GatedWrapper):
    """`episodic` for a gated cell."""

    linear = False

    def project(self, params, xs):
        """The inner projection, and the ends alongside."""
        xs, ends = xs
        return self.inner.project(params, xs), ends

    def mix(self, params, carry):
        """The inner mix of the carry to begin with."""
        return self.inner.mix(params, carry.begin)

    def update(self, params, carry, x_gates, h_gates):
        """The inner update, and a fresh start after it where an episode ends."""
        x_gates, ends = x_gates
        left = self.inner.update(params, carry.begin, x_gates, h_gates)
        return _next(self.inner, params, ends, left)

    def readout(self, params, carry):
        """The inner readout of what the step left."""
        return self.inner.readout(params, carry.left)

    def activations(self, params, carry, x_gates, h_gates):
        """The inner activations."""
        x_gates, _ = x_gates
        return self.inner.activations(params, carry.begin, x_gates, h_gates)
