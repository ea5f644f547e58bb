"""Masked steps and episode resets.

Both are wrappers that take the mask together with the inputs, so that drivers need no code for
them. Masks are floats because drivers differentiate all inputs; the gradient of a mask is 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import expand, widest
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.typing import Array, Carry, Float, Int, Shaped
from rnn_jax.wrappers.base import GatedWrapper, Wrapper, first_leaf, wrapper_for


def keep_mask(lengths: Int[Array, "..."], steps: int) -> Float[Array, "{steps} ..."]:
    """1 where t < length, otherwise 0: [T, ...]."""
    times = jnp.arange(steps, dtype=lengths.dtype).reshape(steps, *(1,) * lengths.ndim)
    return (times < lengths[None]).astype(jnp.float32)


def select(
    keep: Float[Array, "..."], new: Shaped[Array, "... H"], old: Shaped[Array, "... H"] | float
) -> Shaped[Array, "... H"]:
    """`new` where `keep` is 1, `old` where it is 0."""
    keep = keep[..., None]
    if not isinstance(old, int | float):
        dtype = widest(new.dtype, old.dtype)
        new, old = new.astype(dtype), old.astype(dtype)
    return jnp.where(keep > 0, expand(new, keep), old)


def hold(keep: Float[Array, "..."], new: Carry, old: Carry) -> Carry:
    """`select` on every field of a carry."""
    return jax.tree.map(lambda n, o: select(keep, n, o), new, old)


def masked(cell: Cell) -> Cell:
    """A cell that takes (x, keep) and holds its carry where keep is 0; x must be finite there."""
    return wrapper_for(cell, MaskedCell, MaskedGatedCell)(cell)


class MaskedCell(Wrapper):
    """The cell that `masked` returns."""

    def step(self, params, carry, x):
        """The inner step; the old carry where x is masked."""
        x, keep = x
        new, y = self.inner.step(params, carry, x)
        return hold(keep, new, carry), y

    def project(self, params, xs):
        """The inner projection and the mask."""
        xs, keep = xs
        return self.inner.project(params, xs), keep

    def update(self, params, carry, x_gates, h_gates):
        """The inner update; the old carry where the input is masked."""
        x_gates, keep = x_gates
        return hold(keep, super().update(params, carry, x_gates, h_gates), carry)

    def coefficients(self, params, x_gates):
        """The inner coefficients; 1 and 0 where the input is masked."""
        x_gates, keep = x_gates
        a, b = super().coefficients(params, x_gates)
        return select(keep, a, 1), select(keep, b, 0)

    def activations(self, params, carry, x_gates, h_gates):
        """The inner gates; zeros where the input is masked."""
        x_gates, keep = x_gates
        values = super().activations(params, carry, x_gates, h_gates)
        return tuple(select(keep, gate, 0) for gate in values)


class MaskedGatedCell(MaskedCell, GatedWrapper):
    """`MaskedCell` for a gated cell."""

    step = GatedCell.step

    def carries(self, params, first, states, x_gates):
        """The inner carries; the last valid one where the input is masked."""
        x_gates, keep = x_gates
        carries = self.inner.carries(params, first, states, x_gates)
        if not isinstance(carries, EpisodeCarry):
            return carries  # The states are those of the last valid step.
        times = jnp.arange(len(keep)).reshape(-1, *(1,) * (keep.ndim - 1))
        last = jax.lax.cummax(jnp.where(keep > 0, times, -1))[..., None]

        def fill(one, left):
            return jnp.where(last < 0, one, jnp.take_along_axis(left, jnp.maximum(last, 0), 0))

        return carries._replace(left=jax.tree.map(fill, first.left, carries.left))


class EpisodeCarry(NamedTuple):
    """The carry after a step, and the carry that the next step starts with."""

    left: Carry
    begin: Carry


def episodic(cell: Cell) -> Cell:
    """A cell that takes (x, ends [..., 1]) and resets its carry after each step where ends is 1.

    Its carry is an `EpisodeCarry`. The output is read from `left`, while `begin` keeps values and
    gradients of an ended episode out of the next matrix product.
    """
    return wrapper_for(cell, EpisodicCell, EpisodicGatedCell)(cell)


class EpisodicCell(Wrapper):
    """The cell that `episodic` returns."""

    def step(self, params, carry, x):
        """The inner step; the initial carry follows the last step of an episode."""
        x, ends = x
        left, y = self.inner.step(params, carry.begin, x)
        return self._next(params, ends, left), y

    def project(self, params, xs):
        """The inner projection and the ends."""
        xs, ends = xs
        return self.inner.project(params, xs), ends

    def mix(self, params, carry):
        """The inner mix of the carry before the step."""
        return self.inner.mix(params, carry.begin)

    def update(self, params, carry, x_gates, h_gates):
        """The inner update; the initial carry follows the last step of an episode."""
        x_gates, ends = x_gates
        left = self.inner.update(params, carry.begin, x_gates, h_gates)
        return self._next(params, ends, left)

    def activations(self, params, carry, x_gates, h_gates):
        """The inner activations."""
        x_gates, _ = x_gates
        return self.inner.activations(params, carry.begin, x_gates, h_gates)

    def _next(self, params, ends, left):
        h = first_leaf(left)
        start = self.inner.start(params, h.shape[:-1], h.dtype)
        return EpisodeCarry(left, hold(ends[..., 0], start, left))


class EpisodicGatedCell(EpisodicCell, GatedWrapper):
    """`EpisodicCell` for a gated cell."""

    step = GatedCell.step

    def coefficients(self, params, x_gates):
        """The inner coefficients; 0 and the initial state at the last step of an episode."""
        x_gates, ends = x_gates
        a, b = self.inner.coefficients(params, x_gates)
        goes_on, start = 1 - ends[..., 0], self.inner.start(params, dtype=b.real.dtype)
        return select(goes_on, a, 0), select(goes_on, b, self.inner.state(start))

    def state(self, carry):
        """The inner state that the next step starts with."""
        return self.inner.state(carry.begin)

    def carries(self, params, first, states, x_gates):
        """The states are those of `begin`; a step from each of them gives `left`."""
        begin = self.inner.carry(states)
        past = jax.tree.map(lambda one, c: jnp.concatenate([one[None], c[:-1]]), first.begin, begin)
        left = self.inner.update(params, past, x_gates[0], self.inner.mix(params, past))
        return EpisodeCarry(left, begin)

    def readout(self, params, carry):
        """The inner readout of the carry after the step."""
        return self.inner.readout(params, carry.left)
