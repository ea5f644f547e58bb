"""experiments/gradient_flossing.py: learning over a delay, resuming a grid, table and figure."""

import dataclasses

import gradient_flossing as experiment
import numpy as np
import optax
from figure_checks import flaws
from flax import nnx

from rnn_jax import RNNCell
from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.datasets.delayed_bits import TASKS
from rnn_jax.initializers import Default
from rnn_jax.plotting import gradient_flossing as report
from rnn_jax.training.devices import sharding
from rnn_jax.training.flossing import make_floss
from rnn_jax.training.from_scratch import examples, make_training
from rnn_jax.training.until_solved import task_model

SMALL = {"delays": (3,), "hidden_size": 6, "floss_exponents": 4, "max_steps": 4}
SMALL |= {"check_every": 2, "batch_size": 4, "floss_steps": 2, "floss_again": 1, "seeds": 1}


def fake_row(method, delay, seed, steps, accuracy, task="copy"):
    row = {"task": task, "delay": delay, "method": method, "seed": seed, "steps": steps}
    row |= {"solved": accuracy >= 0.95, "errors": [0.5, 1 - accuracy], "criterion": 0.05}
    spectra = (np.array([[-0.5], [-0.01], [-0.02]]) * np.arange(1, 9)).tolist()
    return row | {"exponents": spectra, "max_steps": 900, "floss_exponents": 6}


def test_flossing_moves_exponents_to_zero_and_keeps_the_output_layer():
    devices, task = sharding.data_mesh(1, 1), TASKS["copy"]
    graphdef, start, _ = make_training(
        lambda init, key: task_model(RNNCell(8), task, init, key),
        lambda model, batch, keys: (0.0, {}),
        optimizer := optax.adam(1e-2),
        devices,
    )
    params = start(0, Default()).params
    floss = make_floss(graphdef, task, optimizer, 6)
    flossed, _ = floss(params, optimizer.init(params), examples(0, 0, 60, devices))

    def mean_square(params):
        layer = nnx.merge(graphdef, params).rnn
        xs, _ = task.sample(examples(1, 0, 4, devices), 30)
        return float((lyapunov_spectrum(layer.cell, layer.weights(), xs, count=6) ** 2).mean())

    assert mean_square(flossed) < 0.3 * mean_square(params)
    np.testing.assert_array_equal(flossed.output.kernel[...], params.output.kernel[...])


def test_a_network_learns_a_delay_of_20_with_flossing_and_not_without(tmp_path):
    flags = {"tasks": ("copy",), "delays": (20,), "methods": ("none", "before"), "seeds": 2}
    rows = experiment.main(experiment.Config(**flags, max_steps=600, out_dir=tmp_path))
    for plain, flossed in zip(rows[:2], rows[2:], strict=True):
        assert not plain["solved"] and plain["errors"][-1] > 0.4
        assert flossed["solved"] and flossed["exponents"][0] == plain["exponents"][0]
        before, after = (np.square(found[:75]).mean() for found in flossed["exponents"][:2])
        assert after < 0.1 * before
    assert (tmp_path / "flossing.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_grid_resumes_exactly(tmp_path, capsys):
    config = experiment.Config(**SMALL, tasks=("xor",), out_dir=tmp_path / "out")
    whole = experiment.main(config)
    assert [row["method"] for row in whole] == list(report.METHODS)
    assert len({row["exponents"][2][0] for row in whole}) == 4
    path = config.out_dir / experiment.ROWS
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]) + '{"task": "xo')
    capsys.readouterr()
    again = experiment.main(config)
    assert again[:2] == whole[:2]
    assert [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in whole]
    printed = capsys.readouterr().out
    assert "3/4  xor, delay 3, during, seed 0: not solved after 4 steps" in printed
    assert "2/4  " not in printed
    assert again == experiment.main(dataclasses.replace(config, replot=True))


def test_the_table_counts_solved_seeds_and_shows_the_other_accuracies():
    rows = [fake_row("none", 9, seed, 900, 0.5) for seed in range(2)]
    rows += [fake_row("before", 9, 0, 300, 0.99), fake_row("before", 9, 1, 900, 0.8)]
    rows += [fake_row("before", 20, 0, 500, 0.97)]
    lines = report.summary(rows)
    assert "95% of new bits right within 900 steps" in lines[0]
    assert "| no flossing | 0/2, 50.0% |  |" in lines
    assert "| flossing before | 1/2, 300 steps | 1/1, 500 steps |" in lines


def test_the_figure_shows_every_seed_of_every_task_and_no_text_overlaps():
    rows = [
        fake_row(method, delay, seed, 900, 0.5 + seed / 10, task)
        for task in report.TASKS
        for delay in (10, 20, 40, 60)
        for method in report.METHODS
        for seed in range(5)
    ]
    for some in (rows, [row for row in rows if row["task"] == "xor" and row["method"] == "none"]):
        figure = report.flossing_figure(some)
        assert not flaws(figure)
        lines = [line for axes in figure.axes[:-1] for line in axes.lines]
        dots = [len(line.get_xdata()) for line in lines if line.get_marker() == "o"]
        assert sum(dots) == len(some)
