"""Commands that read their data through a Grain pipeline, with worker processes."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from cut import rows
from repository import ROOT

pytest.importorskip("grain")


def test_without_grain_the_error_names_the_command(tmp_path):
    """In a process of its own, in which Grain cannot be imported."""
    body = "import sys; sys.modules['grain'] = None; sys.argv = sys.argv[1:]\n"
    body += "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = [str(ROOT / "experiments" / "char_lm.py"), "--data-in", "stream"]
    options = {"capture_output": True, "text": True, "cwd": tmp_path}
    ended = subprocess.run([sys.executable, "-c", body, *script], **options)
    assert ended.returncode == 2 and ended.stderr == (
        "char_lm.py: --data-in stream needs the package grain; install it with "
        "pip install -e '.[stream]'.\n"
    )


@pytest.fixture
def words(tmp_path):
    """A text of characters of one to four bytes."""
    chosen = np.random.default_rng(0).integers(4, size=1500)
    path = tmp_path / "words.txt"
    path.write_text(" ".join(("one", "zwölf", "三", "🎵\r\n")[i] for i in chosen), newline="")
    return path


SMALL = ["--hidden-size", "8", "--batch-size", "8", "--window", "16", "--steps", "7"]
SMALL += ["--log-every", "3", "--sample-length", "9", "--devices", "2"]
STREAMED = ["--data-in", "stream", "--data-workers", "2"]


def char_lm(words, out, *options):
    """Start a short training of a language model."""
    script, where = str(ROOT / "experiments" / "char_lm.py"), ["--text", words, "--out-dir", out]
    command = [sys.executable, script, *where, *SMALL, *options]
    return subprocess.Popen(map(str, command), stdout=-1, stderr=-1, text=True, process_group=0)


def test_a_streamed_text_gives_the_same_network_in_one_process_and_in_two(words, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = ["--num-processes", "2", "--coordinator", f"127.0.0.1:{free.getsockname()[1]}"]
    runs = [char_lm(words, tmp_path / "memory"), char_lm(words, tmp_path / "stream", *STREAMED)]
    runs += [
        char_lm(words, tmp_path / "two", *STREAMED, *meeting, "--process-id", number)
        for number in range(2)
    ]
    ended = [run.communicate(timeout=240)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, ended
    assert rows(tmp_path / "stream") == rows(tmp_path / "memory")
    for mine, theirs in zip(rows(tmp_path / "two"), rows(tmp_path / "memory"), strict=True):
        np.testing.assert_allclose(mine["loss"], theirs["loss"], rtol=1e-6)
    assert not list(tmp_path.glob("*/*.npy"))


def test_ctrl_c_saves_the_run_and_leaves_no_worker(words, tmp_path):
    """A terminal sends SIGINT to all processes of its foreground group."""
    run = char_lm(words, tmp_path / "run", *STREAMED, "--steps", "1000000")
    while not (line := run.stdout.readline()).startswith("step"):
        assert line, run.communicate()
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert errors.endswith("--resume\n") and "Traceback" not in errors
    deadline = time.monotonic() + 20
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(run.pid, 0)
            time.sleep(0.1)
