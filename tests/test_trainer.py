"""An interrupted run resumes exactly as if it had not been interrupted."""

import json
import re
import signal

import jax
import numpy as np
import pytest
from cut import cut_at, rows
from small_runs import STEPS, SmallRun, assert_same, few_examples

from rnn_jax import InputError, RunError
from rnn_jax.training import trainer
from rnn_jax.training.runs.checkpoint import Checkpoints, DamageWarning
from rnn_jax.training.runs.metrics import METRICS
from rnn_jax.training.runs.records import write_summary
from rnn_jax.training.runs.run_dir import RunDir


@pytest.fixture(scope="module")
def examples():
    return few_examples()


@pytest.fixture(scope="module", params=["lstm", "gru", "rnn"])
def run(request):
    return SmallRun(request.param)


@pytest.fixture(scope="module")
def lstm():
    return SmallRun()


def test_rows_contain_the_learning_rate_of_their_step(lstm, examples, tmp_path):
    lstm(tmp_path, examples, learning_rate=0.4, schedule="cosine")
    done = np.array([5, 10, 12]) - 1
    found = [row["learning_rate"] for row in rows(tmp_path)]
    np.testing.assert_allclose(found, 0.2 * (1 + np.cos(np.pi * done / STEPS)), rtol=1e-5)


@pytest.mark.parametrize("step", [1, 5, 7, 11])
def test_a_resumed_run_equals_an_uninterrupted_one(run, examples, tmp_path, step):
    whole = run(tmp_path / "whole", examples)
    with cut_at(step):
        run(tmp_path / "cut", examples, checkpoint_every=step)
    resumed = run(tmp_path / "cut", examples, resume=True)
    assert_same(resumed, whole)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.parametrize("number, name", [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")])
def test_a_signal_saves_and_prints_how_to_resume(lstm, examples, tmp_path, number, name):
    with cut_at(5, number) as stopped:
        lstm(tmp_path, examples)
    assert re.match(rf"{name} after step 5 of 12.*--resume", str(stopped.value))
    assert stopped.value.signal == number
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_5"]


def test_rows_after_the_checkpoint_are_written_once(lstm, examples, tmp_path):
    """As after a kill: there are rows after the newest checkpoint."""
    whole = lstm(tmp_path / "whole", examples)
    with cut_at(3):
        lstm(tmp_path / "cut", examples, checkpoint_every=3)
    with open(tmp_path / "cut" / METRICS, "a") as file:
        file.write(json.dumps({"step": 5, "loss": -1}) + "\n" + '{"step": 1')
    assert_same(lstm(tmp_path / "cut", examples, resume=True), whole)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_damaged_checkpoint_only_costs_steps(lstm, examples, tmp_path):
    whole = lstm(tmp_path, examples, checkpoint_every=5)
    want = rows(tmp_path)
    (tmp_path / "checkpoints" / "step_12" / "contents.json").write_text("{}")
    with pytest.warns(DamageWarning, match="step 12 is not used"):
        assert_same(lstm(tmp_path, examples, resume=True, keep=1), whole)
    assert rows(tmp_path) == want
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step_12", "damaged_12.1"}


def test_resuming_an_empty_folder_starts_at_step_0(lstm, examples, tmp_path, capsys):
    lstm(tmp_path / "new", examples, resume=True)
    assert "has no checkpoint: training starts at step 0" in capsys.readouterr().out
    assert len(rows(tmp_path / "new")) == 3


def test_different_settings_are_an_error_that_names_them(lstm, examples, tmp_path):
    settings = {"cell": "lstm", "seed": 0, "learning_rate": 0.1, "devices": 1}
    lstm(tmp_path, examples, settings)
    with pytest.raises(InputError, match=r"other settings: seed \(1 now, 0 then\), learning_rate"):
        changes = {"seed": 1, "learning_rate": 0.2, "devices": 2}
        lstm(tmp_path, examples, settings | changes, resume=True)


def test_a_finished_run_has_its_summary(lstm, examples, tmp_path):
    lstm(tmp_path, examples)
    summary = write_summary(RunDir(tmp_path), {"test_accuracy": 1})
    assert summary["test_accuracy"] == 1
    assert lstm(tmp_path, examples, resume=True) == summary


@pytest.mark.parametrize("devices", [1, 8])
def test_a_run_of_two_devices_resumes_on_any_number(lstm, examples, tmp_path, devices):
    whole = lstm(tmp_path / "whole", examples)
    with cut_at(5):
        SmallRun(devices=2)(tmp_path / "cut", examples)
    resumed = SmallRun(devices=devices)(tmp_path / "cut", examples, resume=True)
    for mine, theirs in zip(*map(jax.tree.leaves, (resumed.params, whole.params)), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_bad_steps_stop_the_run_and_name_step_loss_and_parameter(lstm, examples, tmp_path):
    xs, labels = examples
    with pytest.raises(
        RunError, match=r"step 10 was skipped, the last of 10 .*loss nan.*gradient of"
    ):
        lstm(tmp_path, (xs * np.nan, labels), checkpoint_every=5)
    state = lstm(tmp_path, examples, resume=True)
    assert int(state.step) == STEPS and int(state.skipped) == 5


def test_debugging_names_the_first_nonfinite_operation(examples, tmp_path):
    xs, labels = examples
    run = SmallRun(max_bad_steps=1)
    with pytest.raises(RunError, match=r"step 1 was skipped.*first bad number: .*encountered in"):
        run(tmp_path, (xs.at[:, 0].set(np.inf), labels), debug_nans=True)


@pytest.mark.parametrize("cost, some", [(0, True), (1e6, False)])
def test_a_costly_checkpoint_is_saved_less_often(lstm, examples, tmp_path, monkeypatch, cost, some):
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0)
    monkeypatch.setattr(Checkpoints, "cost", cost)
    lstm(tmp_path / "run", examples, keep=100)
    steps = Checkpoints(tmp_path / "run" / "checkpoints").steps()
    assert steps[-1] == STEPS and (len(steps) > 1) == some
    lstm(tmp_path / "every", examples, keep=100, checkpoint_every=4)
    assert Checkpoints(tmp_path / "every" / "checkpoints").steps() == [4, 8, 12]


def test_no_checkpoint_is_due_while_one_is_written(lstm, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0)
    monkeypatch.setattr(Checkpoints, "busy", True)
    lstm(tmp_path, examples, keep=100)
    assert Checkpoints(tmp_path / "checkpoints").steps() == [STEPS]


def test_the_best_checkpoint_is_kept_over_a_resume(lstm, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "cost", 0)
    monkeypatch.setattr(Checkpoints, "busy", False)
    flags = {"keep": 1, "log_every": 1, "keep_best": "grad_norm"}
    with cut_at(8):
        lstm(tmp_path, examples, **flags)
    lstm(tmp_path, examples, resume=True, **flags)
    norms = {row["step"]: row["grad_norm"] for row in rows(tmp_path)}
    best = min(norms, key=norms.get)
    assert set(Checkpoints(tmp_path / "checkpoints").steps()) == {best, STEPS}


def test_an_unknown_metric_is_an_error_before_training(lstm, examples, tmp_path):
    with pytest.raises(InputError, match=r"`keep_best` must be one of loss, .*grad_norm, got 'f1'"):
        lstm(tmp_path, examples, keep_best="f1")
    assert not list(tmp_path.iterdir())


def test_temporary_files_of_a_killed_run_are_removed_at_start(lstm, examples, tmp_path):
    left = [tmp_path / f".training.png.{'0' * 32}", tmp_path / "checkpoints" / "step_3" / "arrays"]
    left[0].touch()
    left[1].mkdir(parents=True)
    lstm(tmp_path, examples)
    assert not any(path.exists() for path in left)


def test_rows_report_clipping(lstm, examples, tmp_path):
    lstm(tmp_path, examples, clip_norm=0.5)
    for row in rows(tmp_path):
        assert row["clip_factor"] == min(1.0, 0.5 / row["grad_norm"])
