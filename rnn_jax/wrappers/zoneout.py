"""Zoneout around any cell: units that sit a step out."""

import dataclasses
from typing import NamedTuple

import jax

from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float, Inputs
from rnn_jax.wrappers.base import GatedWrapper, Wrapper, first_leaf, wrapper_for
from rnn_jax.wrappers.dropout import check_rates


def zoneout(cell: Cell, *rates: float) -> Cell:
    """Zoneout: each unit of the carry keeps its last value with a probability, step by step.

    The output is read from the carry after zoneout: by `readout` if the cell has one, else, where
    `step` returns a field of its new carry as the output, that field after zoneout. Any other
    output is that of the inner step.

    Args:
      cell: any cell.
      rates: the probabilities, one for every field of the carry or one for all: for an LSTM
        (h, c), e.g. 0.05, 0.5. Without a key a field moves by the share 1 - rate.

    Raises:
      InputError: rates outside [0, 1), or of another number than the fields.
    Reference: Krueger et al. (2017), "Zoneout: regularizing RNNs by randomly preserving hidden
    activations".
    """
    require_cell("zoneout", cell)
    fields = len(jax.tree.leaves(jax.eval_shape(cell.initial_carry)))
    if len(rates) not in (1, fields):
        raise InputError(
            f"zoneout needs 1 rate or {fields}, one for every field of the carry of "
            f"{type(cell).__name__}, got {len(rates)}."
        )
    check_rates(**{f"rates[{n}]": rate for n, rate in enumerate(rates)})
    rates = rates if len(rates) == fields else rates * fields
    return wrapper_for(cell, ZoneoutCell, ZoneoutGatedCell)(cell, rates)


class Zoned(NamedTuple):
    """Inputs beside what moves: for every field of the carry 1 or 0 for each unit [T, ..., H]."""

    x: Inputs
    moves: tuple[Float[Array, "..."], ...]


class _Zoneout:
    """What both forms of zoneout share."""

    noisy = True
    linear = False

    def sampled(self, params, xs, key):
        """The steps at which each unit moves."""
        if key is None:
            return super().sampled(params, xs, key)
        key, key_z = jax.random.split(key)
        cell, params, xs = super().sampled(params, xs, key)
        x = first_leaf(xs)
        shape, keys = (*x.shape[:-1], self.hidden_size), jax.random.split(key_z, len(self.rates))
        moves = [
            jax.random.bernoulli(k, 1 - rate, shape).astype(x.dtype)
            for k, rate in zip(keys, self.rates, strict=True)
        ]
        return cell, params, Zoned(xs, tuple(moves))

    def _open(self, x):
        """What the inner cell takes, and how far each field moves."""
        return x if isinstance(x, Zoned) else (x, tuple(1 - rate for rate in self.rates))

    def _moved(self, moves, new: Carry, old: Carry) -> Carry:
        leaves, structure = jax.tree.flatten(new)
        pairs = zip(moves, leaves, jax.tree.leaves(old), strict=True)
        return structure.unflatten([m * n + (1 - m) * o for m, n, o in pairs])


@dataclasses.dataclass(frozen=True)
class ZoneoutCell(_Zoneout, Wrapper):
    """`zoneout` for a cell that is nothing but a step."""

    rates: tuple[float, ...]

    def step(self, params, carry, x):
        """The inner step, taken by some units alone."""
        x, moves = self._open(x)
        new, y = super().step(params, carry, x)
        moved = self._moved(moves, new, carry)
        if hasattr(self.inner, "readout"):
            return moved, self.inner.readout(self.inner_params(params), moved)
        pairs = zip(jax.tree.leaves(new), jax.tree.leaves(moved), strict=True)
        return moved, next((after for before, after in pairs if before is y), y)


@dataclasses.dataclass(frozen=True)
class ZoneoutGatedCell(_Zoneout, GatedWrapper):
    """`zoneout` for a gated cell."""

    rates: tuple[float, ...]

    def project(self, params, xs):
        """The inner projection, and the moves alongside."""
        if not isinstance(xs, Zoned):
            return super().project(params, xs)
        return Zoned(super().project(params, xs.x), xs.moves)

    def update(self, params, carry, x_gates, h_gates):
        """The inner update, taken by some units alone."""
        x_gates, moves = self._open(x_gates)
        return self._moved(moves, super().update(params, carry, x_gates, h_gates), carry)

    def activations(self, params, carry, x_gates, h_gates):
        """The inner activations."""
        return super().activations(params, carry, self._open(x_gates)[0], h_gates)
