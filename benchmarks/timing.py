"""Timing calls side by side, so that what slows the machine for a while slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

TURN_SECONDS = 0.05
"""A turn repeats its call for this long, so that short calls are timed well too."""


def turn(call: Callable[[], object]) -> float:
    """Seconds of one call: the median of those that fit in a turn, at least one.

    `call` returns when its work is done. A first call is not timed: others have run since the turn
    before, and what they left in the caches is not this call's to pay for.
    """
    call()
    seconds, end = [], time.perf_counter() + TURN_SECONDS
    while not seconds or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def interleave(turns: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Let all take their turns, one after the other, `repeats` times: the seconds of each."""
    seconds = {name: [] for name in turns}
    for _ in range(repeats):
        for name, take in turns.items():
            seconds[name].append(take())
    return seconds


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and interquartile range [ms] and the number of repeats, as columns of a row."""
    quartiles = statistics.quantiles(seconds, method="inclusive") if len(seconds) > 1 else [0, 0, 0]
    return {
        "median_ms": 1e3 * statistics.median(seconds),
        "iqr_ms": 1e3 * (quartiles[2] - quartiles[0]),
        "repeats": len(seconds),
    }
