"""Background saves, the best checkpoint, and temporary files of a killed process."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from rnn_jax import InputError, RunError
from rnn_jax.files import replacing, sweep
from rnn_jax.training.runs.checkpoint import Checkpoints, DamageWarning

TREE, FACTS = {"w": np.arange(6, dtype=np.float32)}, {"row": None}


@contextlib.contextmanager
def held(monkeypatch, gate):
    """Block all writes of Orbax until the event `gate` is set."""
    save = ocp.StandardCheckpointer.save

    def slow(*args, **kwargs):
        assert gate.wait(60)
        return save(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ocp.StandardCheckpointer, "save", slow)
        yield


def test_a_background_save_stores_the_arrays_of_its_call(tmp_path, monkeypatch):
    checkpoints, gate, array = Checkpoints(tmp_path), threading.Event(), np.zeros(3)
    with held(monkeypatch, gate):
        checkpoints.save(1, {"w": array}, FACTS, background=True)
        array[:] = 7
        assert checkpoints.busy and checkpoints.steps() == []
        gate.set()
        checkpoints.wait()
    assert not checkpoints.busy
    np.testing.assert_array_equal(checkpoints.restore({"w": array}).tree["w"], np.zeros(3))


@pytest.mark.parametrize("then", ["wait", "save", "leave"])
def test_a_failed_background_save_is_raised_once(tmp_path, monkeypatch, then):
    checkpoints = Checkpoints(tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    with (
        monkeypatch.context() as patch,
        pytest.raises(RunError, match=r"step 1 could not be saved.*No space left.*resume=True"),
        checkpoints.settled(),
    ):
        patch.setattr(ocp.StandardCheckpointer, "save", full)
        checkpoints.save(1, TREE, FACTS, background=True)
        if then == "wait":
            checkpoints.wait()
        elif then == "save":
            checkpoints.save(2, TREE, FACTS, background=True)
    checkpoints.wait()
    checkpoints.save(3, TREE, FACTS)
    assert checkpoints.steps() == [3]


def test_an_error_in_the_with_block_is_raised_after_the_last_save(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(InputError, match="other"), checkpoints.settled():
        checkpoints.save(1, TREE, FACTS, background=True)
        raise InputError("other")
    assert not checkpoints.busy and checkpoints.steps() == [1]


def test_the_best_checkpoint_is_kept_and_survives_a_resume(tmp_path):
    losses = {1: 3.0, 2: 0.5, 3: None, 4: float("nan"), 5: 1.0, 6: 2.0}
    for step, loss in losses.items():
        # A new object each time, as in a resumed run.
        checkpoints = Checkpoints(tmp_path, keep=2, metric="loss")
        assert checkpoints.improves({"loss": loss}) == (step in (1, 2))
        checkpoints.save(step, {"w": jnp.float32(step)}, {"row": {"loss": loss}})
        assert not checkpoints.improves({"loss": loss})
    assert checkpoints.steps() == [2, 5, 6]
    like = {"w": jnp.float32(0)}
    assert checkpoints.restore(like).step == 6
    assert checkpoints.restore(like, best=True).step == 2
    (tmp_path / "step_2" / "contents.json").write_text("{}")
    with pytest.warns(DamageWarning, match=r"step 2 is not used.*that of step 5 is"):
        assert checkpoints.restore(like, best=True).step == 5


def test_the_highest_accuracy_is_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1, metric="batch_accuracy")
    for step, accuracy in enumerate([0.5, 0.9, 0.7], 1):
        checkpoints.save(step, {"w": np.ones(1)}, {"row": {"batch_accuracy": accuracy}})
    assert checkpoints.steps() == [2, 3]


def test_only_temporary_files_of_a_killed_process_are_removed(tmp_path):
    names = {".training.png." + "0a" * 16, ".config.json." + "f" * 32}
    others = {".training.png", "training.png." + "0a" * 16, ".x.0a", "metrics.jsonl"}
    for name in names | others:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == others
    sweep(tmp_path / "nothing")


def test_a_file_is_flushed_to_disk_before_it_replaces_another(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def noted(descriptor):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))[:5])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    monkeypatch.setattr(Path, "replace", lambda a, b: os.replace(a, b))
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("x")
    assert calls == [".file", "replace", tmp_path.name[:5]]


TOGETHER = """
import resource, sys
from pathlib import Path
import numpy as np
from rnn_jax.training.devices.sharding import start_devices
start_devices(2, sys.argv[2], 2, int(sys.argv[3]))
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.errors import RunError
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.save(1, {"w": np.zeros(3)}, {})
if sys.argv[3] == "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    with checkpoints.settled():
        checkpoints.save(2, {"w": np.zeros(3)}, {}, background=True)
except RunError as error:
    print(error, checkpoints.steps())
"""


def test_a_save_that_fails_in_one_process_ends_the_other(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-c", TOGETHER, tmp_path, address]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([*command, str(number)], **pipes) for number in range(2)]
    try:
        said = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said
    # Gloo prints that it has connected.
    first, second = (out.splitlines()[-1] for out, _ in said)
    assert re.fullmatch(r"the checkpoint of step 2 could not .*too large.* \[1\]", first)
    assert second == "process 0 cannot save the checkpoint of step 2; see its error. [1]"
