"""The command in separate processes: errors, Ctrl-C, closed pipes, several processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from image_sets import BUNDLED
from mnist_lstm import Config, main
from repository import ROOT

from rnn_jax import CELLS, InputError
from rnn_jax.datasets import image_data


def start(tmp_path, *arguments, **options):
    """Start the command in a separate process, away from the default folder of TFDS."""
    command = [sys.executable, str(ROOT / "experiments/mnist_lstm.py"), *arguments]
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path / "tfds"), "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=tmp_path, env=environment, **(pipes | options))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--hidden-size", "0"], "--hidden-size must be at least 1, got 0."),
        (["--out-dir", "/dev/null/run"], "the folder '/dev/null/run' cannot be written"),
        (["--dataset", "mnits"], "mnist"),
        (["--devices", "3"], "a batch of 128 does not divide over 3 devices"),
        (["--cell", "lstn"], "cell must be one of lstm, gru"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path, arguments, words):
    process = start(tmp_path, *arguments)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert words in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"batch_size": -3}, "--batch-size must be at least 1, got -3."),
        ({"learning_rate": -0.1}, "--learning-rate must be above 0, got -0.1."),
        ({"learning_rate": float("nan")}, "--learning-rate must be above 0, got nan."),
        ({"clip_norm": -1.0}, "--clip-norm must be at least 0, got -1.0."),
        ({"keep": 0}, "--keep must be at least 1, got 0."),
        ({"cell": "gru", "forget_bias": 2.0}, "`forget_bias` is for an LSTM; `cell=gru` has none."),
        ({"init": "chrono"}, "init must be one of default, orthogonal"),
    ],
)
def test_a_setting_out_of_range_is_named_as_a_flag(tmp_path, changes, words):
    with pytest.raises(InputError) as error:
        main(Config(out_dir=tmp_path / "run", **changes))
    assert words in str(error.value)


def test_a_mistyped_option_is_named_and_exits_with_2(tmp_path):
    process = start(tmp_path, "--sead", "1")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "Unrecognized options" in errors
    assert "Traceback" not in errors


def test_help_names_every_option_with_its_default_and_needs_no_jax(tmp_path):
    process = start(tmp_path, "--help")
    text, _ = process.communicate()
    text = " ".join(text.replace("│", " ").split())
    assert process.returncode == 0
    for words in (
        *CELLS,
        "--hidden-size",
        "(default: 128)",
        "(default: 0.001)",
        "--readout",
        "--data-dir",
    ):
        assert words in text
    code = "import sys, mnist_lstm; assert 'jax' not in sys.modules, 'jax was imported'"
    path = f"{ROOT / 'experiments'}:{ROOT}"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})


def test_help_to_a_closed_pipe_causes_no_stack_trace(tmp_path):
    process = start(tmp_path, "--help")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait(timeout=60) == 141


@pytest.fixture(scope="module")
def tiny_cache(tmp_path_factory):
    """A folder in which TFDS has prepared MNIST, shared by the interrupted runs."""
    folder = tmp_path_factory.mktemp("runs")
    image_data.load_images("mnist", folder / "tfds", bundled=BUNDLED)
    return folder


def test_a_run_stopped_by_ctrl_c_resumes_exactly(tiny_cache):
    job = ["--examples", "20000", "--hidden-size", "8", "--log-every", "3"]
    process = start(tiny_cache, *job, "--out-dir", "cut")
    rows = tiny_cache / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (rows.exists() and rows.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    command = errors.strip().splitlines()[-1].partition("continue with: ")[2]
    assert command.endswith(" --out-dir cut --resume")
    resumed = start(tiny_cache, *command.split()[2:])
    whole = start(tiny_cache, *job, "--out-dir", "whole")
    for each in (resumed, whole):
        assert each.communicate(timeout=120) and each.returncode == 0
    found = [
        json.loads((tiny_cache / name / "summary.json").read_text())["test_loss"]
        for name in ("cut", "whole")
    ]
    assert found[0] == found[1]
    assert len(rows.read_text().splitlines()) == 53


def test_two_processes_train_and_resume_as_one(tiny_cache):
    """Both on loopback, with one device each; the same steps as one process with two devices."""
    small = ["--hidden-size", "8", "--devices", "2"]
    alone = start(tiny_cache, *small, "--examples", "2560", "--out-dir", "alone")
    alone.communicate()
    for options in (["--examples", "1280"], ["--examples", "2560", "--resume"]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        together = [
            start(
                tiny_cache,
                *(*small, *options, "--out-dir", "together"),
                *("--coordinator", f"127.0.0.1:{port}"),
                *("--num-processes", "2", "--process-id", str(number)),
            )
            for number in range(2)
        ]
        printed = [process.communicate(timeout=240) for process in together]
        assert [process.returncode for process in together] == [0, 0], printed
        assert ["wrote" in out for out, _ in printed] == [True, False]
    one, two = (
        json.loads((tiny_cache / name / "summary.json").read_text())
        for name in ("alone", "together")
    )
    assert one["device_count"] == two["device_count"] == 2
    np.testing.assert_allclose(one["test_loss"], two["test_loss"], rtol=1e-6)


def test_a_closed_output_pipe_causes_no_stack_trace(tiny_cache):
    process = start(tiny_cache, "--examples", "2560", "--hidden-size", "8", "--out-dir", "piped")
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=120) == 141
    assert "Traceback" not in errors


def test_without_data_and_network_the_error_is_one_line(tmp_path):
    clone = tmp_path / "experiments"
    clone.mkdir()
    shutil.copy(ROOT / "experiments/mnist_lstm.py", clone)
    environment = os.environ | {
        "TFDS_DATA_DIR": str(tmp_path / "tfds"),
        "PYTHONPATH": str(ROOT),
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, str(clone / "mnist_lstm.py"), "--dataset", "kmnist"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "kmnist" in done.stderr
