"""The folder of a run: one process at a time, nothing overwritten, atomic writes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnn_jax import InputError, RunError
from rnn_jax.files import read_json
from rnn_jax.training.runs import locks
from rnn_jax.training.runs.run_dir import RunDir, claim, exclusive

NAMED = Path("named")
"""Any default: the folder that is given is another one."""


def claimed(out_dir, default=NAMED, resume=False):
    """The folder of a run that starts and ends at once."""
    with claim(out_dir, default, resume) as out:
        if not resume:
            out.write("config.json", {"seed": 0})
        return out.path


def test_the_default_folder_gets_the_next_free_number(tmp_path):
    default = tmp_path / "mnist"
    names = [claimed(default, default).name for _ in range(3)]
    assert names == ["mnist", "mnist-2", "mnist-3"]
    assert claimed(default, default, resume=True).name == "mnist-3"


def test_resuming_by_default_needs_a_run(tmp_path):
    default = tmp_path / "mnist"
    with pytest.raises(InputError, match=r"no run to resume: neither .*mnist"):
        claimed(default, default, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_an_explicit_default_folder_is_not_numbered(tmp_path):
    default = tmp_path / "mnist"
    for _ in range(2):
        claimed(default, default)
    same = tmp_path / "mnist"
    with pytest.raises(InputError, match="mnist has a run already; continue it with `resume=True`"):
        claimed(same, default)
    assert claimed(same, default, resume=True).name == "mnist"


@pytest.mark.parametrize("trace", ["config.json", "metrics.jsonl", "checkpoints"])
def test_an_explicit_folder_with_a_run_is_an_error(tmp_path, trace):
    named = tmp_path / "mine"
    (named / trace).mkdir(parents=True)
    with pytest.raises(InputError, match="mine has a run already; continue it with `resume=True`"):
        claimed(named)
    assert claimed(named, resume=True) == named


def test_resuming_a_folder_without_a_run_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("nothing", "empty"):
        with pytest.raises(InputError, match=f"{name} has no run to resume; check `out_dir`"):
            claimed(tmp_path / name, resume=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_folder_in_use_is_an_error_or_skipped_by_default(tmp_path):
    default = tmp_path / "mnist"
    with claim(default, default, False) as first:
        for resume in (False, True):
            with pytest.raises(InputError, match=r"mnist is in use by process \d+ on .*out_dir"):
                if resume:
                    first.write("config.json", {})
                claimed(tmp_path / "mnist", default, resume)
        assert claimed(default, default).name == "mnist-2"
    assert claimed(tmp_path / "mnist", default, resume=True) == first.path


HOLD = """
import sys, time
from pathlib import Path
from rnn_jax.training.runs.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use by process {process.pid} "), exclusive(run):
            pass
        process.kill()
    assert (run / locks.LOCK).exists()
    assert claimed(run, resume=True) == run
    assert claimed(run) == run


RACE = """
import sys, time
from pathlib import Path
from rnn_jax.files import read_json
from rnn_jax.training.runs.run_dir import claim
default = Path(sys.argv[1])
while time.time() < float(sys.argv[2]):
    pass
with claim(default, default, False) as out:
    out.write("config.json", {"process": sys.argv[3]})
    print(out.path.name, flush=True)
    sys.stdin.read()
"""


def test_runs_that_start_together_use_separate_folders(tmp_path):
    start = str(time.time() + 8)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, "-c", RACE, tmp_path / "run", start, str(n)], **pipes)
        for n in range(4)
    ]
    names = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.communicate()
    assert sorted(names) == ["run", "run-2", "run-3", "run-4"]
    for number, name in enumerate(names):
        assert read_json(tmp_path / name / "config.json") == {"process": str(number)}


def test_an_earlier_run_is_renamed_and_kept(tmp_path):
    for number in range(3):
        with exclusive(tmp_path / "run") as out:
            moved = out.move_aside()
            out.write("config.json", {"number": number})
            with pytest.raises(InputError, match="in use"), exclusive(tmp_path / "run"):
                pass
    assert moved == tmp_path / "run.2"
    names = ("run.1", "run.2", "run")
    numbers = [read_json(tmp_path / name / "config.json")["number"] for name in names]
    assert numbers == [0, 1, 2]


def test_a_folder_without_a_run_keeps_its_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with claim(tmp_path, NAMED, False) as out:
        assert out.path == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_new_folder_is_removed(tmp_path):
    with pytest.raises(InputError, match="wrong"), claim(tmp_path / "runs" / "x", NAMED, False):
        raise InputError("wrong")
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert claimed(Path("~/run")) == tmp_path / "run"
    assert (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("name", ["file", "file/run", "a" * 300, "a\0b"])
def test_an_impossible_folder_is_one_sentence(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written.*out_dir|NUL"):
        claimed(tmp_path / name)


def test_a_file_system_without_locks_gives_one_warning(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="does not support locks"):
        assert claimed(tmp_path / "run") == tmp_path / "run"


def test_rows_are_on_disk_as_soon_as_they_are_appended(tmp_path):
    out = RunDir(tmp_path)
    for step in (1, 2):
        out.append("metrics.jsonl", {"step": step})
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1]) == {"step": step}


def test_a_failed_write_gives_a_remedy_and_keeps_the_old_file(tmp_path, monkeypatch):
    out = RunDir(tmp_path)
    path = out.write("summary.json", {"accuracy": 1})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(RunError, match=r"No space left on device.*resume=True"):
        out.write("summary.json", {"accuracy": 2})
    assert read_json(path) == {"accuracy": 1}


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_file_without_a_json_object_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json is not a JSON object"):
        read_json(tmp_path / "config.json")
    assert read_json(tmp_path / "other.json") is None
