"""Zoneout: random units of the carry keep their value for a step."""

import dataclasses
from typing import NamedTuple

import jax

from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import require_cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float, Inputs
from rnn_jax.wrappers.base import GatedWrapper, Wrapper, first_leaf, wrapper_for
from rnn_jax.wrappers.dropout import check_rates


def zoneout(cell: Cell, *rates: float) -> Cell:
    """Zoneout: at each step, each unit of the carry keeps its value with some probability.

    The output is computed from the carry after zoneout if the cell has a `readout`. Otherwise, if
    `step` returns a field of its new carry as the output, it is that field after zoneout. Any
    other output is that of the inner step.

    Args:
      cell: any cell.
      rates: the probabilities, one for each field of the carry or one for all. An LSTM has the
        fields h and c, e.g. `zoneout(cell, 0.05, 0.5)`. Without a key, every unit moves by the
        fraction 1 - rate of its step, the expected value.

    Raises:
      InputError: a rate outside [0, 1), or a wrong number of rates.
    Reference: Krueger et al. (2017), "Zoneout: regularizing RNNs by randomly preserving hidden
    activations".
    """
    require_cell("zoneout", cell)
    fields = len(jax.tree.leaves(jax.eval_shape(cell.initial_carry)))
    if len(rates) not in (1, fields):
        raise InputError(
            f"zoneout needs 1 rate or {fields}, one for each field of the carry of "
            f"{type(cell).__name__}, got {len(rates)}."
        )
    check_rates(**{f"rates[{n}]": rate for n, rate in enumerate(rates)})
    rates = rates if len(rates) == fields else rates * fields
    return wrapper_for(cell, ZoneoutCell, ZoneoutGatedCell)(cell, rates)


class Zoned(NamedTuple):
    """Inputs, and for each field of the carry, 1 where a unit moves, otherwise 0: [T, ..., H]."""

    x: Inputs
    moves: tuple[Float[Array, "..."], ...]


@dataclasses.dataclass(frozen=True)
class ZoneoutCell(Wrapper):
    """The cell that `zoneout` returns."""

    rates: tuple[float, ...]
    noisy = True
    linear = False

    def sampled(self, params, xs, key):
        """The inputs together with the moves of each unit at each step."""
        if key is None:
            return super().sampled(params, xs, key)
        key, key_z = jax.random.split(key)
        cell, params, xs = super().sampled(params, xs, key)
        x = first_leaf(xs)
        fields = jax.tree.leaves(jax.eval_shape(self.initial_carry))
        keys = jax.random.split(key_z, len(fields))
        moves = [
            jax.random.bernoulli(k, 1 - rate, (*x.shape[:-1], field.shape[-1])).astype(x.dtype)
            for k, rate, field in zip(keys, self.rates, fields, strict=True)
        ]
        return cell, params, Zoned(xs, tuple(moves))

    def step(self, params, carry, x):
        """The inner step, with each unit moved by a fraction of its change."""
        x, moves = self._split_moves(x)
        new, y = super().step(params, carry, x)
        moved = self._moved(moves, new, carry)
        if hasattr(self.inner, "readout"):
            return moved, self.inner.readout(self.inner_params(params), moved)
        pairs = zip(jax.tree.leaves(new), jax.tree.leaves(moved), strict=True)
        return moved, next((after for before, after in pairs if before is y), y)

    def project(self, params, xs):
        """The inner projection and the moves."""
        if not isinstance(xs, Zoned):
            return super().project(params, xs)
        return Zoned(super().project(params, xs.x), xs.moves)

    def update(self, params, carry, x_gates, h_gates):
        """The inner update, with each unit moved by a fraction of its change."""
        x_gates, moves = self._split_moves(x_gates)
        return self._moved(moves, super().update(params, carry, x_gates, h_gates), carry)

    def activations(self, params, carry, x_gates, h_gates):
        """The inner activations."""
        return super().activations(params, carry, self._split_moves(x_gates)[0], h_gates)

    def _split_moves(self, x):
        """The inputs of the inner cell, and the fraction by which each field moves."""
        return x if isinstance(x, Zoned) else (x, tuple(1 - rate for rate in self.rates))

    def _moved(self, moves, new: Carry, old: Carry) -> Carry:
        leaves, structure = jax.tree.flatten(new)
        pairs = zip(moves, leaves, jax.tree.leaves(old), strict=True)
        return structure.unflatten([m * n + (1 - m) * o for m, n, o in pairs])


class ZoneoutGatedCell(ZoneoutCell, GatedWrapper):
    """`ZoneoutCell` for a gated cell."""

    step = GatedCell.step
