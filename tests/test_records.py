"""The records of a run are checked on resume: damage is named, or repaired from a checkpoint."""

import json
import shutil

import numpy as np
import pytest
from cut import cut_at, rows
from small_runs import STEPS, N, SmallRun, assert_same, few_examples

from rnn_jax import InputError
from rnn_jax.files import read_json
from rnn_jax.training.batches import BatchOrder
from rnn_jax.training.feeds import InMemory
from rnn_jax.training.runs.metrics import METRICS, PENDING
from rnn_jax.training.runs.records import RecordWarning, write_summary
from rnn_jax.training.runs.run_dir import RunDir

SETTINGS = {"cell": "lstm", "steps": STEPS, "experiment": "test"}


@pytest.fixture(scope="module")
def examples():
    return few_examples()


@pytest.fixture(scope="module")
def lstm():
    return SmallRun()


@pytest.fixture(scope="module")
def half_done(lstm, examples, tmp_path_factory):
    """A run stopped after step 10, of 12, with two rows."""
    path = tmp_path_factory.mktemp("half")
    with cut_at(10):
        lstm(path, examples, SETTINGS)
    return path


@pytest.fixture
def run(half_done, tmp_path):
    return shutil.copytree(half_done, tmp_path / "run")


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(old, new):
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new, 1))


def replaced_by_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "a broken line": (changed(b'{"step": 5', b'{"step": 5{'), "line 1 was changed"),
    "a digit": (changed(b'"examples": 80', b'"examples": 81'), "lines 1 to 2 was changed"),
    "a key": (changed(b'"step": 10', b'"stop": 10'), "line 2 was changed"),
    "a step": (changed(b'"step": 10', b'"step": 1\\0'), "line 2 was changed"),
    "no UTF-8": (changed(b'"loss"', b'"los\xff"'), "line 1 was changed"),
    "a list": (lambda path: path.write_text("[1]\n[2]\n"), "line 1 was changed"),
    "a blank line": (changed(b"}\n", b"}\n\n"), "line 2 was changed"),
    "emptied": (lambda path: path.write_text(""), "0 complete lines of 2"),
    "deleted": (lambda path: path.unlink(), "0 complete lines of 2"),
    "a folder": (replaced_by_a_folder, "cannot be read"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-3]), "1 complete lines of 2"),
    "a row less": (lambda path: path.write_bytes(path.read_bytes().split(b"\n", 1)[1]), "1 compl"),
    "swapped": (
        lambda path: path.write_text("".join(reversed(path.read_text().splitlines(True)))),
        "line 2 was changed",
    ),
}


@pytest.mark.parametrize("damage, words", DAMAGE.values(), ids=DAMAGE)
def test_damaged_rows_are_named_and_nothing_is_overwritten(
    lstm,
    examples,
    run,
    damage,
    words,
):
    damage(run / METRICS)
    before = content(run)
    with pytest.raises(InputError, match=rf"metrics\.jsonl .*{words}.*restore the file"):
        lstm(run, examples, SETTINGS, resume=True)
    assert content(run) == before


def test_rows_after_the_checkpoint_are_dropped_even_if_damaged(lstm, examples, run):
    with open(run / METRICS, "ab") as file:
        file.write(b'{"step": 12, "loss": 1}\n\0\0\xff\n{"step": 1')
    lstm(run, examples, SETTINGS, resume=True)
    assert [row["step"] for row in rows(run)] == [5, 10, 12]


def test_a_finished_run_names_its_damaged_rows(lstm, examples, run):
    lstm(run, examples, SETTINGS, resume=True)
    summary = write_summary(RunDir(run), {"steps": STEPS})
    assert lstm(run, examples, SETTINGS, resume=True) == summary
    changed(b'"step": 5', b'"step": 6')(run / METRICS)
    with pytest.raises(InputError, match="lines 1 to 3 was changed since the checkpoint of step"):
        lstm(run, examples, SETTINGS, resume=True)


@pytest.mark.parametrize("kind", ["deleted", "emptied"])
@pytest.mark.parametrize("name", [METRICS, "summary.json"])
def test_progress_without_a_checkpoint_is_an_error_and_is_kept(lstm, examples, run, kind, name):
    if name == "summary.json":
        (run / METRICS).write_text("")
        write_summary(RunDir(run), {"steps": 3})
    shutil.rmtree(run / "checkpoints")
    if kind == "emptied":
        (run / "checkpoints").mkdir()
    before = content(run)
    with pytest.raises(InputError, match=rf"{name}.*has no checkpoint.*not mounted.*out_dir"):
        lstm(run, examples, SETTINGS, resume=True)
    assert content(run) == before


def test_a_run_killed_before_its_first_checkpoint_restarts(
    lstm,
    examples,
    run,
    half_done,
):
    shutil.rmtree(run / "checkpoints")
    (run / PENDING).touch()
    lstm(run, examples, SETTINGS, resume=True)
    assert rows(run)[:2] == rows(half_done)
    assert (run / f"{METRICS}.1").read_bytes() == (half_done / METRICS).read_bytes()
    assert not (run / PENDING).exists()


@pytest.mark.parametrize("text", [None, "", "[1]", '{"cell": "lstm", "steps": 12, "seed": 3}'])
def test_a_damaged_config_is_restored_from_the_checkpoint(lstm, examples, run, text):
    path = run / "config.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.warns(RecordWarning, match=r"config\.json is .*restored from the checkpoint"):
        lstm(run, examples, SETTINGS, resume=True)
    assert read_json(path) == SETTINGS
    assert text is None or (run / "config.json.1").read_text() == text


@pytest.mark.parametrize("old, new", [("0.91", "0.97"), ("accuracy", "acuracy"), ("{", "")])
def test_a_damaged_summary_is_written_again(lstm, examples, run, old, new):
    whole = lstm(run, examples, SETTINGS, resume=True)
    write_summary(RunDir(run), {"steps": STEPS, "accuracy": 0.91})
    path = run / "summary.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.warns(RecordWarning, match=r"summary\.json is damaged and was renamed to"):
        assert_same(lstm(run, examples, SETTINGS, resume=True), whole)
    assert new in (run / "summary.json.1").read_text()


def lengthened(lstm, path, data, steps, **flags):
    """Train to another number of steps."""
    settings = SETTINGS | {"steps": steps, **flags}
    return lstm(path, data, settings, steps, **flags, resume=path.exists())


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_can_be_extended_and_equals_a_longer_one(lstm, examples, run, tmp_path, finished):
    if finished:
        lstm(run, examples, SETTINGS, resume=True)
        write_summary(RunDir(run), {"steps": STEPS})
    want = lengthened(lstm, tmp_path / "longer", examples, 20)
    assert_same(lengthened(lstm, run, examples, 20), want)
    assert rows(run) == rows(tmp_path / "longer")
    extensions = [{"after_step": 12 if finished else 10, "steps": [12, 20]}]
    assert read_json(run / "config.json")["extensions"] == extensions


def test_an_interrupted_extension_without_checkpoint_resumes(lstm, examples, run):
    lstm(run, examples, SETTINGS, resume=True)
    trainer = lstm.trainer(run, SETTINGS | {"steps": 20}, 20, resume=True)
    trainer._start(lstm.first, InMemory(examples, BatchOrder(0, N, 8), 5, lstm.mesh))
    assert [row["step"] for row in rows(run)] == [5, 10]
    state = lengthened(lstm, run, examples, 20)
    assert int(state.step) == 20 and [row["step"] for row in rows(run)] == [5, 10, 15, 20]


def test_fewer_steps_than_already_done_are_an_error(lstm, examples, run):
    with pytest.raises(InputError, match="has 10 steps already, more than 8; give at least"):
        lengthened(lstm, run, examples, 8)
    assert [row["step"] for row in rows(run)] == [5, 10]


def test_a_schedule_that_depends_on_the_length_refuses_another_length(lstm, examples, tmp_path):
    lengthened(lstm, tmp_path / "run", examples, 12, schedule="cosine")
    with pytest.raises(InputError, match=r"other settings: steps \(20 now, 12 then\)"):
        lengthened(lstm, tmp_path / "run", examples, 20, schedule="cosine")


def test_a_run_of_another_experiment_is_named(lstm, examples, run):
    with pytest.raises(InputError, match="has a run of test, not of other"):
        lstm(run, examples, SETTINGS | {"experiment": "other"}, resume=True)


def test_a_checkpoint_without_a_hash_of_its_rows_resumes(lstm, examples, run, monkeypatch):
    from rnn_jax.training.runs import metrics

    read = metrics.read_metrics

    def older(out, step, facts, **options):
        rest = {name: x for name, x in facts.items() if name not in ("rows", "regular_rows")}
        return read(out, step, rest, **options)

    monkeypatch.setattr(metrics, "read_metrics", older)
    lstm(run, examples, SETTINGS, resume=True)
    assert [row["step"] for row in rows(run)] == [5, 10, 12]
    assert np.isfinite([row["loss"] for row in rows(run)]).all()
    assert json.loads((run / METRICS).read_text().splitlines()[0])["step"] == 5
