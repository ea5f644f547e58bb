"""Interleaved timing, so that a temporary slowdown of the machine affects all calls alike."""

import statistics
import time
from collections.abc import Callable, Mapping

TURN_SECONDS = 0.05
"""Seconds for which a turn repeats its call, so that short calls are timed precisely."""
LONG_SECONDS = 1.0
"""Duration of a call [s] from which the state of the caches at its start no longer matters."""


def turn(call: Callable[[], object]) -> float:
    """Seconds of one call: the median over the calls that fit in a turn, at least one.

    `call` returns when its work is done. The first call does not count unless it is long, because
    other functions have filled the caches since the last turn.
    """
    start = time.perf_counter()
    call()
    if (first := time.perf_counter() - start) > LONG_SECONDS:
        return first
    seconds, end = [], time.perf_counter() + TURN_SECONDS
    while not seconds or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def interleave(turns: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Run all turns in sequence, `repeats` times; return the seconds of each."""
    seconds = {name: [] for name in turns}
    for _ in range(repeats):
        for name, take in turns.items():
            seconds[name].append(take())
    return seconds


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, quartiles and interquartile range in ms, and number of repeats, as columns."""
    low, median, high = statistics.quantiles(seconds * (1 + (len(seconds) < 2)), method="inclusive")
    return {
        "median_ms": 1e3 * median,
        "quartiles_ms": [1e3 * low, 1e3 * high],
        "iqr_ms": 1e3 * (high - low),
        "repeats": len(seconds),
    }
