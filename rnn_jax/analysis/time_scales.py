"""How long: the half-life of a gradient, the time constant of a gate."""

import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float


class HalfLife(NamedTuple):
    """What becomes of a gradient on its way back in time.

    kind: "vanishes" or "explodes" where the number of steps is smaller than the series is long,
      else "carried"; "undefined" where the series holds NaN or +inf.
    steps: steps in which the norm halves, or doubles where slope > 0; inf where it does neither.
    slope: change of the log10 norm for each step away from the loss.
    """

    kind: Literal["vanishes", "explodes", "carried", "undefined"]
    steps: float
    slope: float


def half_life(log10_norms: Float[np.ndarray | Array, " N"]) -> HalfLife:
    """The rate of a series of log10 norms over the distance from the loss, nearest first.

    The slope is the median over i of (s[i + n/2] - s[i]) / (n/2): a straight line's own, and blind
    to what happens in less than a quarter of the series, such as the first steps off the loss.
    Zeros (-inf) at the start are left out: a loss that reads h_T alone does not depend on c_T. A
    gradient that becomes zero later vanishes, in as many steps as that takes at the most.

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
    """A gate at each step, over all units and examples.

    mean: [T]; low, high: [T], the shares of values below 0.1 and above 0.9; time_constant: [T],
      steps, that of the geometric mean of the gate.
    """

    mean: Float[Array, " T"]
    low: Float[Array, " T"]
    high: Float[Array, " T"]
    time_constant: Float[Array, " T"]


def gate_statistics(gates: dict[str, Float[Array, "T ... H"]]) -> dict[str, GateStatistics]:
    """The statistics of each gate that `gate_activations` returns.

    They are made for gates in 0 to 1; the time constant means something where the gate multiplies
    the past (f of an LSTM, z of a GRU), and is NaN where values are negative.
    """

    def watch(gate):
        gate = jnp.asarray(gate)
        rest = tuple(range(1, gate.ndim))
        shares = (gate, gate < 0.1, gate > 0.9)
        return GateStatistics(*(s.mean(rest) for s in shares), time_constant(gate, rest))

    return {name: watch(gate) for name, gate in gates.items()}


def time_constant(
    gate: Float[Array, "..."], axis: int | tuple[int, ...] = 0
) -> Float[Array, "..."]:
    """Steps in which a memory multiplied by the gate each step falls to 1/e: -1 / mean(log f).

    Over axis 0, time, this is the time constant that each unit had over the whole sequence; 0 for a
    gate that was ever shut, inf for one that was always open.

    Reference: Tallec, Ollivier (2018), "Can recurrent neural networks warp time?".
    """
    return 1 / jnp.abs(jnp.log(jnp.asarray(gate)).mean(axis))
