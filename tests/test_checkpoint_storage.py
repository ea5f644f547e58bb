"""Checkpoints in unusual folders, in unreadable folders, and on full disks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from rnn_jax import InputError, RunError, files
from rnn_jax.training.runs import checkpoint, checkpoint_files
from rnn_jax.training.runs.checkpoint import Checkpoints, DamageWarning

TREE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "a.b/c": np.ones(2), "..": np.ones(1)}
TREE |= {"empty": np.zeros((0, 3), np.float32), "%ä[0]*": np.zeros((), np.int32)}
FACTS = {"row": None}
NAMES = ["lstm[lr=0.1]", "[", "a*b", "a?b", "{a,b}", "with space", "50%25", "a#b", "ä漢", "a\nb"]
NAMES += ["a\\b", "'\"", "a:b", "$HOME", "~", "s3:x", "\udcff"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_checkpoint_is_restored_from_a_folder_of_any_name(tmp_path, name):
    for folder in (tmp_path / name, tmp_path / name / "below"):
        Checkpoints(folder).save(1, TREE, FACTS)
        for leaf, array in Checkpoints(folder).restore(TREE).tree.items():
            np.testing.assert_array_equal(array, TREE[leaf], leaf)


def test_a_checkpoint_is_restored_through_a_link_and_relative_path(tmp_path, monkeypatch):
    (tmp_path / "a[b]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a[b]")
    monkeypatch.chdir(tmp_path / "a[b]")
    Checkpoints(Path("../link")).save(1, TREE, FACTS)
    assert Checkpoints(Path(".")).restore(TREE).step == 1
    (tmp_path / "a[b]").rename(tmp_path / "c*")
    assert Checkpoints(tmp_path / "c*").restore(TREE).step == 1


def test_a_checkpoint_is_restored_without_proc(tmp_path, monkeypatch):
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda p: not str(p).startswith("/proc") and exists(p))
    Checkpoints(tmp_path / "a[b]").save(1, TREE, FACTS)
    assert Checkpoints(tmp_path / "a[b]").restore(TREE).step == 1


def test_a_checkpoint_that_cannot_be_read_back_does_not_count_as_saved(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, TREE, FACTS)
    save = ocp.StandardCheckpointer.save

    def other(self, path, arrays):
        save(self, path, arrays | {"w": arrays["w"] + 1})

    monkeypatch.setattr(ocp.StandardCheckpointer, "save", other)
    with pytest.raises(
        RunError, match=r"step 2 could not be saved.*w differs when it is read back"
    ):
        checkpoints.save(2, TREE, FACTS)
    assert checkpoints.steps() == [1]


def to_file(folder):
    checkpoint_files.delete_checkpoint(folder)
    folder.write_text("")


def to_folder(path):
    path.unlink()
    path.mkdir()


def to_link(folder):
    checkpoint_files.delete_checkpoint(folder)
    folder.symlink_to("nowhere")


def largest(folder):
    found = (path for path in (folder / "arrays").rglob("*") if path.is_file())
    return max(found, key=lambda path: path.stat().st_size)


HARM = {
    "a_file": (to_file, "step_2 is not a folder"),
    "a_dangling_link": (to_link, "it has no contents.json"),
    "contents_are_a_folder": (lambda f: to_folder(f / "contents.json"), "cannot be read"),
    "arrays_are_a_file": (lambda f: to_file(f / "arrays"), "is missing"),
    "an_array_file_is_a_folder": (lambda f: to_folder(largest(f)), "is missing"),
    "another_step": (
        lambda f: (f / "contents.json").write_bytes(
            (f.parent / "step_1/contents.json").read_bytes()
        ),
        "it is the checkpoint of step 1",
    ),
}


@pytest.fixture
def two(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2):
        checkpoints.save(step, TREE, FACTS)
    return checkpoints


@pytest.mark.parametrize("harm, words", HARM.values(), ids=HARM)
def test_an_unusable_checkpoint_is_skipped_renamed_and_replaced(two, harm, words):
    harm(two.folder / "step_2")
    with pytest.warns(DamageWarning, match=f"step 2 is not used: .*{words}.*step 1 is"):
        assert two.restore(TREE).step == 1
    two.set_aside(1)
    two.save(2, TREE, FACTS)
    assert two.restore(TREE).step == 2


@pytest.mark.parametrize("part", ["arrays", "contents.json"])
@pytest.mark.parametrize("number", [5, 13])
def test_files_that_cannot_be_read_are_skipped(two, monkeypatch, part, number):
    """As an I/O error or a lack of permission does; the superuser has every permission."""

    def refuse(path, *args, **kwargs):
        if f"step_2/{part}" in str(path):
            raise OSError(number, os.strerror(number))
        return open(path, *args, **kwargs)

    monkeypatch.setattr(files, "open", refuse, raising=False)
    monkeypatch.setattr(Path, "read_text", lambda path: refuse(path).read())
    with pytest.warns(DamageWarning, match=rf"step 2 .*cannot be read \({os.strerror(number)}\)"):
        assert two.restore(TREE).step == 1


def test_files_in_place_of_all_checkpoints_give_one_sentence(two):
    for step in (1, 2):
        to_file(two.folder / f"step_{step}")
    with pytest.raises(InputError, match=r"no valid checkpoint.*step 2: step_2 is not a folder"):
        two.restore(TREE)


def test_an_unreadable_folder_is_an_error_and_not_an_empty_run(two, monkeypatch):
    to_file(two.folder)
    with pytest.raises(InputError, match="checkpoints cannot be read"):
        two.restore(TREE)
    two.folder.unlink()
    assert two.restore(TREE) is None
    two.folder.symlink_to("lost-mount")
    with pytest.raises(InputError, match="checkpoints cannot be read"):
        two.steps()

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint.os, "listdir", refuse)
    with pytest.raises(InputError, match=r"cannot be read .Permission denied"):
        two.restore(TREE)


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.errors import RunError
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.save(1, {"w": np.zeros(3)}, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    checkpoints.save(2, {"w": np.random.default_rng(0).normal(size=100000)}, {}, background=True)
    checkpoints.wait()
except RunError as error:
    print(error, checkpoints.steps())
"""


def test_a_full_disk_is_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    assert "step 2 could not be saved" in done.stdout and "File too large" in done.stdout
    assert done.stdout.endswith("`resume=True`. [1]\n")


def test_space_is_checked_where_it_cannot_be_reserved(tmp_path, monkeypatch):
    def unsupported(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    Checkpoints(tmp_path).save(1, TREE, FACTS)
    monkeypatch.delattr(os, "posix_fallocate")
    Checkpoints(tmp_path).save(2, TREE, FACTS)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1}))
    with pytest.raises(RunError, match=r"step 3 could not be saved.*No space left"):
        Checkpoints(tmp_path).save(3, TREE, FACTS)
    assert Checkpoints(tmp_path).steps() == [1, 2]
