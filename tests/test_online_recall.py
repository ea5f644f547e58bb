"""experiments/online_gradients.py: its stream, the truncated baseline, learning and resuming."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import online_gradients as experiment
import optax
import pytest

from rnn_jax import GRUCell, InputError, unroll
from rnn_jax.datasets.delayed_bits import delayed_copy_stream
from rnn_jax.plotting import online_gradients as report
from rnn_jax.testing.oracle import assert_close
from rnn_jax.training.truncated import init_truncated, make_truncated_step

BRIEF = {"cells": ("gru",), "estimators": ("bptt", "snap1"), "seeds": 1, "hidden_size": 4}
BRIEF |= {"delay": 2, "window": 2, "steps": 8, "points": 2, "batch_size": 2, "lengths": ()}


def square(head, y, target):
    return jnp.mean((y @ head - target) ** 2)


def test_the_target_is_the_input_of_some_steps_before():
    xs, targets = delayed_copy_stream(jax.random.key(0), 0, 500, 3, 7)
    assert xs.shape == targets.shape == (500, 3, 1)
    np.testing.assert_array_equal(targets[7:], xs[:-7])
    assert set(np.unique(xs)) == {-1, 1} and abs(xs.mean()) < 0.1


def test_pieces_of_the_stream_are_those_of_the_whole():
    key = jax.random.key(3)
    whole = delayed_copy_stream(key, 0, 30, 2, 4)
    for first in (0, 10, 20):
        piece = delayed_copy_stream(key, first, 10, 2, 4)
        assert_close(piece, jax.tree.map(lambda leaf: leaf[first : first + 10], whole))  # noqa: B023


@pytest.mark.parametrize("window", [3, 6])
def test_truncated_steps_descend_on_the_gradient_of_each_window(window, float64):
    cell, optimizer = GRUCell(3), optax.sgd(0.1)
    rng = np.random.default_rng(0)
    xs, targets = jnp.asarray(rng.normal(size=(6, 2, 1))), jnp.asarray(rng.normal(size=(6, 2, 1)))
    params = cell.init(jax.random.key(0), 1), jnp.ones((3, 1))
    params = want = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    carry, values = cell.start(params[0], (2,), jnp.float64), []
    for n in range(0, 6, window):

        def total(params, carry=carry, n=n):
            after, ys = unroll(cell, params[0], xs[n : n + window], carry)
            return sum(map(lambda y, t: square(params[1], y, t), ys, targets[n:])), after

        (value, carry), grads = jax.value_and_grad(total, has_aux=True)(want)
        want = jax.tree.map(lambda w, g: w - 0.1 * g, want, grads)
        values.append(value)
    step = make_truncated_step(square, cell, optimizer, window)
    state, losses = step(init_truncated(cell, params, optimizer, (2,)), xs, targets)
    assert_close((state.params, state.carry, losses), (want, carry, jnp.stack(values)))
    with pytest.raises(InputError, match="window must divide the number of steps"):
        step(state, xs[:5], targets[:5])


def test_online_gradients_learn_better_than_truncated_ones(tmp_path, capsys):
    flags = {"estimators": ("bptt", "snap1", "rtrl"), "cells": ("lru",), "seeds": 1, "steps": 4000}
    flags |= {"points": 4, "lengths": (400, 4000), "batch_size": 4}
    rows = experiment.main(experiment.Config(**flags, out_dir=tmp_path))
    bptt, snap1, rtrl = (row["losses"] for row in rows)
    assert 4 * snap1[-1] < bptt[-1] and snap1[-1] < 0.05
    np.testing.assert_allclose(snap1[0], rtrl[0], rtol=1e-3)  # Both are exact for an LRU.
    for name in ("learning.png", "memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    sizes = map(json.loads, (tmp_path / experiment.MEMORY).read_text().splitlines())
    found = {(row["estimator"], row["T"]): row["bytes"] for row in sizes}
    assert found["bptt", 4000] > 8 * found["bptt", 400]
    assert found["snap1", 4000] < 1.01 * found["snap1", 400]
    assert "| cell | BPTT | SnAp-1 | RTRL |" in capsys.readouterr().out


def test_an_interrupted_grid_resumes_exactly(tmp_path, capsys):
    config = experiment.Config(**BRIEF | {"lengths": (4,)}, out_dir=tmp_path / "out")
    whole = experiment.main(config)
    path = config.out_dir / experiment.ROWS
    path.write_text(path.read_text().splitlines(keepends=True)[0] + '{"cell": "gru", "est')
    capsys.readouterr()
    again = experiment.main(config)
    assert [row["losses"] for row in again] == [row["losses"] for row in whole]
    printed = capsys.readouterr().out
    assert "2/2  gru, SnAp-1, seed 0: error" in printed and "1/2  " not in printed


def test_tables_have_errors_over_seeds_and_memory_over_steps():
    shared = {"cell": "gru", "estimator": "uoro"}
    rows = [
        shared | {"seed": n, "losses": [9.0, error], "steps": 2000, "delay": 3, "window": 5}
        for n, error in enumerate((0.2, 0.4))
    ]
    lines = report.summary(rows)
    assert "| cell | UORO |" in lines and "| `gru` | 0.300 ± 0.141 |" in lines
    assert "last tenth of 2,000 steps" in lines[0]
    sizes = [shared | {"T": 1000, "bytes": 3 * 2**20}, shared | {"T": 10, "bytes": 512}]
    assert "| `gru` | UORO | 512 B | 3 MiB |" in report.summary(rows, sizes)
    assert report.describe(sizes[0]) == "gru, UORO, T = 1,000: 3 MiB of working memory"


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"cells": ("lstn",)}, "cell must be one of .* got 'lstn'"),
        ({"cells": ("projected",)}, "SnAp1 needs a cell in which a parameter moves one unit"),
        ({"estimators": ()}, "nothing to train"),
        ({"points": 3}, "--points must split --steps"),
        ({"window": 3}, "--points must split --steps"),
        ({"lengths": (4, 3)}, "--lengths must be multiples of --window 2, got .3"),
        ({"lengths": (0,)}, "--lengths must be multiples of --window 2, got .0"),
        ({"delay": 0}, "--delay must be at least 1"),
        ({"replot": True}, "cannot be read as rows"),
    ],
)
def test_a_mistake_is_one_sentence(changes, says, tmp_path):
    with pytest.raises(InputError, match=says):
        experiment.main(experiment.Config(**BRIEF | {"out_dir": tmp_path / "out"} | changes))
    assert not (tmp_path / "out").exists()
