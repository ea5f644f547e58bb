"""experiments/memory_tasks.py: training, resuming a grid, and errors."""

import dataclasses

import jax
import memory_tasks as experiment
import numpy as np
import pytest

from rnn_jax.datasets.memory_tasks import TASKS
from rnn_jax.errors import InputError
from rnn_jax.initializers import Default
from rnn_jax.plotting import memory_tasks as report
from rnn_jax.training.devices import sharding
from rnn_jax.training.from_scratch import cell_and_init
from rnn_jax.training.until_solved import make_attempt, task_model

SMALL = {"cells": ("gru",), "adding": (3,), "copy": (), "hidden_size": 8, "max_steps": 6}
SMALL |= {"check_every": 3, "test_examples": 8, "batch_size": 4, "devices": 1}


def results(rows):
    return [{name: x for name, x in row.items() if name != "seconds"} for row in rows]


def test_a_gru_learns_to_add_and_a_second_seed_compiles_nothing(compilations):
    cell, init = cell_and_init("gru", 16, 6)
    training = {"check_every": 50, "batch_size": 32, "test_examples": 200, "clip_norm": 1.0}
    training |= {"criterion": 0.02, "max_steps": 500, "learning_rate": 1e-2}
    attempt = make_attempt(cell, TASKS["adding"], 6, devices=sharding.data_mesh(32, 1), **training)
    first = attempt(0, init)
    assert first.solved and first.errors[-1] < 0.02 and first.skipped_steps == 0
    assert first.steps == 50 * len(first.errors) < 500
    assert all(error >= 0.02 for error in first.errors[:-1])
    count = len(compilations)
    assert attempt(0, init) == first
    assert attempt(1, init) != first and len(compilations) == count


def test_an_interrupted_grid_resumes_exactly(tmp_path, capsys):
    config = experiment.Config(**SMALL, seeds=3, out_dir=tmp_path / "out")
    whole = experiment.main(config)
    assert [row["seed"] for row in whole] == [0, 1, 2]
    assert len({tuple(row["errors"]) for row in whole}) == 3
    assert {"jax", "command", "git_commit", "hidden_size", "learning_rate"} <= set(whole[0])

    path = config.out_dir / experiment.ROWS
    path.write_text(path.read_text().splitlines(keepends=True)[0] + '{"task": "ad')
    capsys.readouterr()
    again = experiment.main(config)
    assert results(again) == results(whole) and again[0] == whole[0]
    printed = capsys.readouterr().out
    assert "2/3  adding T=3, gru, seed 1: not solved after 6 steps" in printed
    assert "1/3  " not in printed and "resume   1 rows are in" in printed
    assert (config.out_dir / "success.png").read_bytes().startswith(b"\x89PNG")
    assert again == experiment.main(dataclasses.replace(config, replot=True))


def test_the_table_counts_solved_seeds_and_shows_the_other_errors():
    def row(cell, T, solved, steps, error):
        shared = {"task": "adding", "criterion": 0.01, "max_steps": 900}
        return shared | {"cell": cell, "T": T, "solved": solved, "steps": steps, "errors": [error]}

    rows = [row("lstm", 50, True, 300, 0.001), row("lstm", 50, True, 500, 0.001)]
    rows += [row("lstm", 50, False, 900, 0.1), row("rnn", 50, False, 900, 0.16)]
    rows += [row("lstm", 9, True, 100, 0.001)]
    lines = report.summary(rows)
    assert "| cell | T = 9 | T = 50 |" in lines
    assert "| lstm | 1/1, 100 steps | 2/3, 400 steps |" in lines
    assert "| rnn |  | 0/1, error 0.160 |" in lines
    assert "below 0.01" in lines[0] and "900 steps" in lines[0] and "0.167" in lines[0]


def test_an_init_changes_only_the_biases_of_a_seed():
    def drawn(init):
        return task_model(cell, TASKS["copy"], init, jax.random.key(0)).rnn.weights()

    cell, init = cell_and_init("lstm:chrono", 4, 30)
    assert (cell, init) == cell_and_init("lstm:chrono=30", 4, 99)
    plain, chrono = jax.jit(lambda: (drawn(Default()), drawn(init)))()
    np.testing.assert_array_equal(chrono.w_h, plain.w_h)
    np.testing.assert_allclose(chrono.b[:4], -chrono.b[4:8])
    assert (chrono.b[4:8] != plain.b[4:8]).all() and (chrono.b[4:8] <= np.log(29)).all()


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"cells": ("lstn",)}, "one of lstm, .* got 'lstn'"),
        ({"cells": ("gru:much",)}, "init must be"),
        ({"copy": (20,)}, "at least 21 time steps, got 20"),
        ({"adding": ()}, "nothing to train"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"criterion": 0.0}, "--criterion must be above 0"),
        ({"replot": True}, "cannot be read as rows"),
    ],
)
def test_a_mistake_is_one_sentence(changes, says, tmp_path):
    with pytest.raises(InputError, match=says):
        experiment.main(experiment.Config(**SMALL | {"out_dir": tmp_path / "out"} | changes))
    assert not (tmp_path / "out").exists()
