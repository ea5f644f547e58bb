"""Interleaved timing, so that a temporary slowdown of the machine affects all calls alike."""

import statistics
import time
from collections.abc import Callable, Mapping

TURN_SECONDS = 0.05
"""Seconds for which a turn repeats its call, so that short calls are timed precisely."""


def turn(call: Callable[[], object]) -> float:
    """Seconds of one call: the median of those that fit in a turn, at least one.

    `call` returns when its work is done. The first call is not timed: other calls have run since
    the last turn and have filled the caches.
    """
    call()
    seconds, end = [], time.perf_counter() + TURN_SECONDS
    while not seconds or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def interleave(turns: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Run all turns one after the other, `repeats` times; return the seconds of each."""
    seconds = {name: [] for name in turns}
    for _ in range(repeats):
        for name, take in turns.items():
            seconds[name].append(take())
    return seconds


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and interquartile range in ms, and number of repeats, as columns of a row."""
    quartiles = statistics.quantiles(seconds, method="inclusive") if len(seconds) > 1 else [0, 0, 0]
    return {
        "median_ms": 1e3 * statistics.median(seconds),
        "iqr_ms": 1e3 * (quartiles[2] - quartiles[0]),
        "repeats": len(seconds),
    }
