"""The rule of `pick_driver`, and of the length of chunks, is that of the committed measurements."""

import json
from pathlib import Path

import numpy as np
import pytest

from rnn_jax import CELLS, pick_driver

RESULTS = Path(__file__).parent.parent / "benchmarks/results"
FILES = sorted(RESULTS.glob("scale-*/throughput.jsonl"))


def points(path):
    """Milliseconds by driver at each point of a file, of training passes."""
    found = {}
    for row in map(json.loads, path.open()):
        if row["pass"] == "train":
            sizes = row["cell"], row["T"], row["B"], row["H"]
            times = found.setdefault(sizes, {})
            times[row["implementation"].removeprefix("rnn_jax ")] = row["median_ms"]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_the_chosen_driver_is_near_the_fastest_one(path):
    """Except for a batch of one, which `unroll` cannot tell from a batch under `vmap`."""
    losses = {}
    for (cell, steps, batch, size), times in points(path).items():
        if batch > 1:
            chosen = times[pick_driver(CELLS[cell](size), steps, batch)]
            losses.setdefault(cell, []).append(
                np.log(chosen / min(times["scan"], times["chunked"]))
            )
    assert losses
    for cell, logs in losses.items():
        assert np.exp(np.mean(logs)) < 1.05, cell


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_the_chosen_length_of_chunks_is_near_the_best_one(path):
    logs = []
    for (_, steps, batch, _), times in points(path).items():
        if batch > 1 and steps >= 64:
            fixed = min(ms for name, ms in times.items() if name.startswith("chunked-"))
            logs.append(np.log(times["chunked"] / fixed))
    assert np.exp(np.mean(logs)) < 1.05
