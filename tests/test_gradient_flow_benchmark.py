"""benchmarks/gradient_flow.py: measurements, files, resuming and messages."""

from pathlib import Path

import flow_measure
import flow_report
import flow_subjects
import flow_tasks
import gradient_flow as benchmark
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flow_runs import config, rows, shorten_chunks
from image_sets import digits

import rnn_jax.analysis.adjoint_probe
import rnn_jax.datasets.image_data
import rnn_jax.drivers.unroll
from rnn_jax.analysis.time_scales import HalfLife
from rnn_jax.cells import LSTMCell, RNNCell
from rnn_jax.cells.base import Cell, HiddenCarry
from rnn_jax.errors import InputError
from rnn_jax.models.factory import build_classifier
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.run_dir import RunDir
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

FIGURES = ("gradient_norms.png", "norm_vs_length.png", "lyapunov.png", "gates.png")


class Doubling(Cell):
    """h' = 1.1 h + x: a recurrence that is no GatedCell."""

    def init(self, key, input_size):
        return jax.random.normal(key, (input_size, self.hidden_size))

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def step(self, params, carry, x):
        h = 1.1 * carry.h + x @ params
        return HiddenCarry(h), h


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    shorten_chunks(monkeypatch)


def test_a_run_writes_rows_and_figures_and_can_be_resumed(tmp_path, monkeypatch, capsys):
    benchmark.main(config(tmp_path, init=("default", "forget=0")))
    first = rows(tmp_path)
    assert [row["init"] for row in first] == ["default", "forget=0"]
    assert all(len(first[0]["adjoint_norms"][field]) == 4 for field in "hc")
    assert first[0]["adjoint_norms"]["c"][-1] is None
    assert set(first[0]["gates"]) == set("ifo") and len(first[0]["lyapunov"]) == 2
    assert {"all", "w_h", "w_h.f", "b.o"} <= set(first[0]["parameter_norms"])
    assert {"jax", "device", "command", "git_commit"} <= set(first[0])
    assert all((tmp_path / "out" / name).stat().st_size > 10_000 for name in FIGURES)

    with open(tmp_path / "out" / benchmark.ROWS, "a") as file:
        file.write('{"cell": "ls')
    monkeypatch.setattr(flow_measure, "time_steps", None)
    benchmark.main(config(tmp_path, init=("default", "forget=0", "gain=0.5")))
    assert rows(tmp_path)[:2] == first
    assert [row["init"] for row in rows(tmp_path)[2:]] == ["gain=0.5"]
    assert "LSTM, gain 0.5: over 4 steps the gradient vanishes" in capsys.readouterr().out

    (tmp_path / "out" / FIGURES[0]).unlink()
    benchmark.main(config(tmp_path, replot=True))
    assert (tmp_path / "out" / FIGURES[0]).exists() and len(rows(tmp_path)) == 3


def test_a_user_cell_explodes_at_its_known_rate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cell = f"{__name__}:Doubling"
    benchmark.main(config(tmp_path, cells=(), cell=cell, lengths=(40,), task="noise"))
    (row,) = rows(tmp_path)
    assert row["timing"]["probe"] == "second pass" and not row["gates"]
    np.testing.assert_allclose(np.diff(row["adjoint_norms"]["h"]), -np.log10(1.1), atol=2e-4)
    np.testing.assert_allclose(row["lyapunov"], np.log(1.1), rtol=1e-3)
    out = capsys.readouterr().out
    assert "Doubling: over 40 steps the gradient explodes, doubling every 7.27 steps." in out


def test_the_probe_and_the_second_pass_give_the_same_norms():
    cell = LSTMCell(5)
    networks = flow_subjects.Initialized(
        ("lstm",), ("default",), (6,), 1, flow_tasks.TASKS["noise"], 5, 3
    )
    subject = networks.load(*networks.points)
    subject = subject._replace(batch=subject.batch._replace(targets=jnp.ones((2, 3, 1))))
    loss = lambda _, ys: flow_measure.loss_of(subject.net, ys, subject.batch.targets)  # noqa: E731
    want = flow_measure.gradient_flow.loss_adjoint_norms(
        loss, cell, subject.net.cell, subject.batch.xs
    )
    _, probed = flow_measure.train_steps(cell)
    *_, got = probed(subject.net, flow_measure.OPTIMIZER.init(subject.net), subject.batch)
    for mine, reference in zip(got, want.carry, strict=True):
        np.testing.assert_allclose(mine, reference[1:], atol=1e-3)


def test_a_trained_run_is_measured_before_and_after(tmp_path, monkeypatch, capsys):
    images = digits(40)
    monkeypatch.setattr(rnn_jax.datasets.image_data, "load_images", lambda *args, **kwargs: images)
    settings = {"cell": "rnn", "hidden_size": 6, "forget_bias": 1.0, "input_size": 28, "seed": 0}
    settings |= {"model": "rnn_jax.models.factory:build_classifier"}
    settings |= {"projection_size": 4, "num_classes": 10, "readout": "carry"}
    settings |= {"dataset": "mnist", "sequence": "rows"}
    run = RunDir(tmp_path)
    run.write("config.json", settings)
    trained = nnx.state(build_classifier(settings | {"seed": 1}), nnx.Param)
    facts = {"settings": settings}
    Checkpoints(run.path / CHECKPOINTS).save(1, {"params": trained}, facts)
    flags = {name: getattr(benchmark.Config, name) for name in benchmark.GRID_ONLY}
    benchmark.main(config(tmp_path, **flags, from_run=run.path, lyapunov=0))
    before, after = rows(tmp_path)
    assert (before["init"], after["init"]) == ("untrained", "trained")
    assert before["T"] == 28 and before["D"] == 4 and after["loss"] != before["loss"]
    assert "RNN, trained: over 28 steps the gradient" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["adding", "copy", "noise"])
def test_targets_of_a_task_follow_from_its_inputs(name):
    task = flow_tasks.load_task(name)
    xs, targets = task.sample(jax.random.split(jax.random.key(0), 6), 40)
    assert xs.shape == (40, 6, task.input_size) and targets.shape[1] == 6
    if name == "adding":
        np.testing.assert_allclose((xs[..., 0] * xs[..., 1]).sum(0), targets[0, :, 0], rtol=1e-6)
        assert (xs[:20, :, 1].sum(0) == 1).all() and (xs[20:, :, 1].sum(0) == 1).all()
    if name == "copy":
        assert (xs[:10].argmax(-1) == targets).all() and (xs[-10:].argmax(-1) == 9).all()


@pytest.mark.parametrize("order, steps", [("rows", 28), ("pixels", 784)])
def test_the_mnist_target_is_the_class_of_the_first_image(order, steps, monkeypatch):
    images = digits()
    monkeypatch.setattr(rnn_jax.datasets.image_data, "load_images", lambda *args, **kwargs: images)
    keys = jax.random.split(jax.random.key(0), 3)
    xs, targets = flow_tasks.load_task(f"mnist-{order}").sample(keys, steps + 5)
    first = np.asarray(xs[:steps]).swapaxes(0, 1).reshape(3, 28, 28)
    for image, label in zip(first, targets[0], strict=True):
        same = (images.train_images / np.float32(255) == image).all((1, 2))
        assert label in images.train_labels[same]


@pytest.mark.parametrize(
    "init, check",
    [
        ("gain=0.5", lambda net, plain: np.allclose(net.w_h, 0.5 * plain.w_h)),
        ("forget=-1", lambda net, plain: np.allclose(net.b[4:8], -1)),
        ("identity", lambda net, plain: np.allclose(net.w_h, np.tile(np.eye(4), 4))),
        ("orthogonal", lambda net, plain: not np.allclose(net.w_h, plain.w_h)),
        ("chrono", lambda net, plain: np.allclose(net.b[:4], -net.b[4:8])),
    ],
)
def test_an_init_changes_only_the_parameters_it_names(init, check):
    networks = flow_subjects.Initialized(
        ("lstm",), ("default", init), (9,), 1, flow_tasks.TASKS["noise"], 4, 2
    )
    plain, changed = (networks.load(point).net for point in networks.points)
    assert check(changed.cell, plain.cell)
    assert (changed.cell.w_x == plain.cell.w_x).all() and (changed.w == plain.w).all()


def test_a_gradient_beyond_floats_still_has_a_norm():
    cell = RNNCell(3, "relu")
    params = cell.init(jax.random.key(0), 28)._replace(w_h=10 * jnp.eye(3))
    net = flow_subjects.Net(params, jnp.ones((3, 1)), jnp.zeros(1))
    batch = flow_tasks.TASKS["noise"].sample(jax.random.split(jax.random.key(1)), 30)
    inf = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.inf), params)
    norms = flow_measure._parameter_norms(cell, net, inf, batch)
    assert 25 < norms["all"] < 100
    np.testing.assert_allclose(
        10 ** (2 * (norms["all"] - norms["w_h"])),
        sum(10 ** (2 * (norms[name] - norms["w_h"])) for name in ("w_x", "w_h", "b")),
        rtol=1e-3,
    )


def test_sentences_describe_the_fate_of_the_gradient():
    def said(*lives):
        shared = {"cell": "gru", "init": "default", "T": 100}
        found = [shared | {"half_life": {"h": HalfLife(*life)._asdict()}} for life in lives]
        return flow_report.sentence(*flow_report.lines(found))

    vanishes, explodes = ("vanishes", 9.0, -0.03), ("explodes", 20.0, 0.015)
    assert said(vanishes, ("vanishes", 11.0, -0.02), explodes).endswith("with half-life 10 steps.")
    assert said(explodes).endswith("explodes, doubling every 20 steps.")
    assert said(("carried", None, 0.0)).endswith("is carried: it changes less than twofold.")


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"init": ("gain=much",)}, "gain=0.9"),
        ({"init": ("chrono",), "cells": ("rnn",)}, "names none; choose another"),
        ({"init": ()}, "--init needs"),
        ({"task": "copy"}, "at least 21"),
        ({"cells": ()}, "nothing to measure"),
        ({"from_run": Path("nowhere")}, "leave out --cells"),
        ({"replot": True}, "cannot be read as rows"),
        ({"cell": "nothing"}, "module:Class"),
        ({"batch_size": 0}, "--batch-size"),
        ({"lengths": ()}, "--lengths needs"),
        ({"lengths": (0, 4)}, "--lengths must be at least 1"),
        ({"init": ("chrono=2",)}, "at least 3 steps"),
        ({"init": ("chrono=",)}, "init must be one of"),
        ({"cells": (), "cell": "rnn_jax:ConvLSTMCell"}, "reads pictures"),
    ],
)
def test_a_mistake_is_one_sentence(changes, says, tmp_path):
    with pytest.raises(InputError, match=says):
        benchmark.main(config(tmp_path, **changes))
    assert not (tmp_path / "out").exists()
