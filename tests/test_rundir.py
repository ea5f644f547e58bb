"""A run's folder: nothing in it is overwritten, and what is written is whole."""

import json

import pytest

from rnn_jax import InputError, RunError
from rnn_jax.rundir import RunDir, choose_folder, move_aside, read_json


def with_run(path):
    RunDir(path).write("config.json", {"seed": 0})
    return path


def test_the_default_folder_becomes_the_next_free_one(tmp_path):
    default = tmp_path / "mnist"
    folders = [with_run(choose_folder(default, default, resume=False)).name for _ in range(3)]
    assert folders == ["mnist", "mnist-2", "mnist-3"]


def test_resuming_by_default_takes_the_latest_run(tmp_path):
    default = tmp_path / "mnist"
    assert choose_folder(default, default, resume=True) == default
    for _ in range(2):
        with_run(choose_folder(default, default, resume=False))
    assert choose_folder(default, default, resume=True).name == "mnist-2"


@pytest.mark.parametrize("trace", ["config.json", "metrics.jsonl", "checkpoints"])
def test_a_folder_given_by_name_that_holds_a_run_is_refused(tmp_path, trace):
    named = tmp_path / "mine"
    (named / trace).mkdir(parents=True)
    with pytest.raises(InputError, match="mine holds a run; go on with it by --resume"):
        choose_folder(named, tmp_path / "mnist", resume=False)
    assert choose_folder(named, tmp_path / "mnist", resume=True) == named


def test_an_earlier_run_is_moved_aside_and_kept(tmp_path):
    for number in range(3):
        moved = move_aside(tmp_path / "run")
        RunDir(tmp_path / "run").write("config.json", {"number": number})
    assert moved == tmp_path / "run.2"
    names = ("run.1", "run.2", "run")
    numbers = [read_json(tmp_path / name / "config.json")["number"] for name in names]
    assert numbers == [0, 1, 2]


def test_a_folder_that_is_no_run_keeps_its_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert choose_folder(tmp_path, tmp_path / "mnist", resume=False) == tmp_path
    RunDir(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written.*--out-dir"):
        RunDir(tmp_path / "file" / "run")


def test_rows_are_on_disk_as_soon_as_they_are_appended(tmp_path):
    out = RunDir(tmp_path)
    for step in (1, 2):
        out.append("metrics.jsonl", {"step": step})
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1]) == {"step": step}


def test_rows_after_a_step_are_cut_off_with_a_half_written_one(tmp_path):
    out = RunDir(tmp_path)
    for step in (5, 10, 15):
        out.append("metrics.jsonl", {"step": step})
    with open(tmp_path / "metrics.jsonl", "a") as rows:
        rows.write('{"step": 2')
    assert out.cut_rows("metrics.jsonl", 10) == [{"step": 5}, {"step": 10}]
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 5}\n{"step": 10}\n'


def test_rows_of_a_run_without_any_are_none(tmp_path):
    assert RunDir(tmp_path).cut_rows("metrics.jsonl", 3) == []


def test_a_write_that_fails_says_what_to_do_and_keeps_what_was_there(tmp_path, monkeypatch):
    out = RunDir(tmp_path)
    path = out.write("summary.json", {"accuracy": 1})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(RunError, match=r"No space left on device.*--resume"):
        out.write("summary.json", {"accuracy": 2})
    assert read_json(path) == {"accuracy": 1}


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_file_that_is_no_json_object_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json holds no JSON object"):
        read_json(tmp_path / "config.json")
    assert read_json(tmp_path / "other.json") is None
