"""Time scales: the half-life of a gradient and the time constant of a gate."""

import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float


class HalfLife(NamedTuple):
    """Decay or growth of a gradient backward in time.

    Attributes:
      kind: "vanishes" or "explodes" if `steps` is smaller than the length of the series,
        otherwise "carried"; "undefined" if the series contains NaN or +inf.
      steps: the number of steps in which the norm halves, or doubles if slope > 0; inf if neither.
      slope: the change of the log10 norm per step away from the loss.
    """

    kind: Literal["vanishes", "explodes", "carried", "undefined"]
    steps: float
    slope: float


def half_life(log10_norms: Float[np.ndarray | Array, " N"]) -> HalfLife:
    """Estimate the half-life from log10 norms ordered by distance from the loss, nearest first.

    The slope is the median over i of (s[i + n/2] - s[i]) / (n/2). It is exact for a straight line,
    and changes in less than a quarter of the series, e.g. in the steps next to the loss, do not
    affect it. Zeros (-inf) at the start are skipped: a loss of h_T only does not depend on c_T. A
    gradient that becomes zero later vanishes, in at most the number of steps until then.

    Raises:
      InputError: a series that is empty or not one-dimensional.

    Reference: Theil (1950), "A rank-invariant method of linear and polynomial regression analysis"
    (the incomplete method).
    """
    series = np.asarray(log10_norms, np.float64)
    if series.ndim != 1 or not len(series):
        raise InputError(f"log10_norms must hold one norm for each step, got shape {series.shape}.")
    if np.isnan(series).any() or np.isposinf(series).any():
        return HalfLife("undefined", np.nan, np.nan)
    series = series[np.argmax(np.isfinite(series)) :]
    end = int(np.argmin(np.append(np.isfinite(series), False)))
    if end < 2:
        return HalfLife("vanishes", float(end), -np.inf)
    lever = end // 2
    slope = float(np.median(series[lever:end] - series[: end - lever])) / lever
    steps = math.log10(2) / abs(slope) if slope else math.inf
    if end < len(series):
        return HalfLife("vanishes", min(steps, end) if slope < 0 else float(end), slope)
    if steps >= end:
        return HalfLife("carried", steps, slope)
    return HalfLife("vanishes" if slope < 0 else "explodes", steps, slope)


class GateStatistics(NamedTuple):
    """Statistics of a gate at each step, over all units and examples.

    Attributes:
      mean: [T].
      low, high: [T], the fractions of values below 0.1 and above 0.9.
      time_constant: [T], in steps, the time constant of the geometric mean of the gate.
    """

    mean: Float[Array, " T"]
    low: Float[Array, " T"]
    high: Float[Array, " T"]
    time_constant: Float[Array, " T"]


def gate_statistics(gates: dict[str, Float[Array, "T ... H"]]) -> dict[str, GateStatistics]:
    """Statistics of each gate that `gate_activations` returns.

    They are meant for gates in [0, 1]. The time constant applies to gates that multiply the carry
    (f of an LSTM, z of a GRU), and is NaN for negative values.
    """

    def statistics(gate):
        gate = jnp.asarray(gate)
        rest = tuple(range(1, gate.ndim))
        shares = (gate, gate < 0.1, gate > 0.9)
        mean, low, high = (share.mean(rest) for share in shares)
        return GateStatistics(mean, low, high, time_constant(gate, rest))

    return {name: statistics(gate) for name, gate in gates.items()}


def time_constant(
    gate: Float[Array, "..."], axis: int | tuple[int, ...] = 0
) -> Float[Array, "..."]:
    """The number of steps in which a state times the gate decays to 1/e: -1 / mean(log gate).

    Over axis 0, time, this is the time constant of each unit over the whole sequence. It is 0 if
    the gate is 0 at any step, and inf if it is always 1.

    Reference: Tallec, Ollivier (2018), "Can recurrent neural networks warp time?".
    """
    return 1 / jnp.abs(jnp.log(jnp.asarray(gate)).mean(axis))
