"""The experiment, end to end on a few hundred digits, and what it says to a mistake."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import rnn_jax.data
from rnn_jax.originals import read_idx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "experiments"))
import predict  # noqa: E402
from mnist_lstm import BUNDLED, Config, main  # noqa: E402

SMALL = {"hidden_size": 8, "projection_size": 4, "batch_size": 32, "examples": 200, "log_every": 3}


def digits(count=300):
    """The first digits of the bundled originals, as the loader returns them."""

    def read(part):
        images, labels = (
            read_idx(next(BUNDLED.glob(f"{part}-{kind}*")))[:count] for kind in ("images", "labels")
        )
        return np.array(images), labels.astype(np.int32)

    return rnn_jax.data.ImageData(*read("train"), *read("t10k"), 10, "mnist", "a few originals")


@pytest.fixture
def few_digits(monkeypatch):
    data = digits()
    monkeypatch.setattr(rnn_jax.data, "load_images", lambda *args, **kwargs: data)
    return data


def start(tmp_path, *arguments, **options):
    """The command in a process of its own, far from TFDS's default folder."""
    command = [sys.executable, str(ROOT / "experiments/mnist_lstm.py"), *arguments]
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path / "tfds"), "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Python ignores Ctrl-C where its parent did, as the jobs in the background of a shell do.
    pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, cwd=tmp_path, env=environment, **(pipes | options))


def test_a_run_writes_what_it_promises(few_digits, tmp_path, capsys):
    summary = main(Config(**SMALL, out_dir=tmp_path / "run"))
    out = tmp_path / "run"
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 7]
    assert set(rows[0]) == {
        *("step", "examples", "loss", "batch_accuracy", "grad_norm", "learning_rate"),
        *("examples_per_second", "skipped_steps", "clip_factor"),
    }
    assert json.loads((out / "summary.json").read_text()) == summary
    assert set(summary) >= {
        *("test_accuracy", "test_loss", "steps", "examples", "train_seconds", "compile_seconds"),
        *("step_ms", "examples_per_second", "cell", "parameters", "device", "device_count", "jax"),
        *("jaxlib", "python", "seed", "data_source"),
    }
    assert json.loads((out / "config.json").read_text())["hidden_size"] == 8
    for name in ("training.png", "predictions.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    for path in re.findall(r"^wrote +(.+)$", printed, re.MULTILINE):
        assert Path(path).exists()


def test_a_second_run_in_one_process_gives_the_same_numbers(few_digits, tmp_path):
    first, second = (main(Config(**SMALL, out_dir=tmp_path / str(n))) for n in range(2))
    for name in ("test_accuracy", "test_loss", "parameters"):
        assert first[name] == second[name]


def test_the_command_can_be_given_again_and_keeps_every_run(few_digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        main(Config(**SMALL))
    assert {path.name for path in Path("runs").iterdir()} == {"mnist_lstm", "mnist_lstm-2"}


def test_a_finished_run_says_so_and_can_be_read_back(few_digits, tmp_path, capsys):
    summary = main(Config(**SMALL, out_dir=tmp_path))
    assert main(Config(**SMALL, out_dir=tmp_path, resume=True)) == summary
    assert "finished" in capsys.readouterr().out
    model, settings = rnn_jax.load_run(tmp_path)
    xs = jnp.moveaxis(rnn_jax.data.to_sequences(few_digits.test_images), 0, 1)
    accuracy = np.mean(model(xs).argmax(-1) == few_digits.test_labels)
    assert settings["hidden_size"] == 8
    np.testing.assert_allclose(accuracy, summary["test_accuracy"], atol=1e-6)


def test_predictions_are_those_of_the_run(few_digits, tmp_path, capsys):
    main(Config(**SMALL, out_dir=tmp_path / "run"))
    picture = tmp_path / "digit.png"
    Image.fromarray(few_digits.test_images[0]).save(picture)
    model, _ = rnn_jax.load_run(tmp_path / "run")
    xs = rnn_jax.data.to_sequences(few_digits.test_images[:1])
    want = np.asarray(jax.nn.softmax(model(jnp.moveaxis(xs, 0, 1))))[0]
    capsys.readouterr()
    ((digit, chance),) = predict.main(predict.Config(tmp_path / "run", (picture,)))
    assert digit == want.argmax()
    np.testing.assert_allclose(chance, want.max(), rtol=1e-5)
    assert capsys.readouterr().out == f"{picture}  {digit}  {chance:.1%}\n"


def test_another_seed_gives_another_run(few_digits, tmp_path):
    losses = {main(Config(**SMALL, seed=s, out_dir=tmp_path / f"{s}"))["test_loss"] for s in (0, 1)}
    assert len(losses) == 2


def test_both_readouts_give_the_same_numbers(few_digits, tmp_path):
    results = [
        main(Config(**SMALL, readout=readout, out_dir=tmp_path / readout))["test_loss"]
        for readout in ("carry", "outputs")
    ]
    np.testing.assert_allclose(*results, rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "rnn", "sequence": "pixels"},
        {"cell": "gru", "sequence": "permuted-pixels", "projection_size": 0},
    ],
)
def test_every_cell_reads_every_sequence(few_digits, tmp_path, options):
    summary = main(Config(**(SMALL | {"examples": 64} | options), out_dir=tmp_path))
    assert summary["cell"] == options["cell"]
    assert 0 <= summary["test_accuracy"] <= 1


def test_the_defaults_are_the_classic_job():
    config = Config()
    assert (config.steps, config.batch_size, config.hidden_size) == (782, 128, 128)
    assert (config.projection_size, config.learning_rate, config.forget_bias) == (128, 1e-3, 1.0)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--hidden-size", "0"], "--hidden-size must be at least 1, got 0."),
        (["--batch-size", "-3"], "--batch-size must be at least 1, got -3."),
        (["--learning-rate", "-0.1"], "--learning-rate must be above 0, got -0.1."),
        (["--learning-rate", "nan"], "--learning-rate must be above 0, got nan."),
        (["--cell", "gru", "--forget-bias", "2"], "--forget-bias is for --cell lstm"),
        (["--out-dir", "/dev/null/run"], "the folder /dev/null/run cannot be written"),
        (["--dataset", "mnits"], "mnist"),
        (["--devices", "3"], "a batch of 128 does not divide over 3 devices"),
        (["--clip-norm", "-1"], "--clip-norm must be at least 0, got -1.0."),
        (["--keep", "0"], "--keep must be at least 1, got 0."),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path, arguments, words):
    process = start(tmp_path, *arguments)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert words in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, words",
    [(["--cell", "lstn"], "invalid choice 'lstn'"), (["--sead", "1"], "Unrecognized options")],
)
def test_a_mistyped_option_is_named_and_exits_with_2(tmp_path, arguments, words):
    process = start(tmp_path, *arguments)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert words in errors
    assert "Traceback" not in errors


def test_a_batch_larger_than_the_data_set_is_refused(few_digits, tmp_path):
    with pytest.raises(rnn_jax.InputError, match="a batch of 302 is larger than the data set"):
        main(Config(batch_size=302, out_dir=tmp_path / "run"))


def test_help_names_every_option_with_its_default_and_needs_no_jax(tmp_path):
    process = start(tmp_path, "--help")
    text, _ = process.communicate()
    assert process.returncode == 0
    for words in ("--hidden-size", "(default: 128)", "(default: 0.001)", "--readout", "--data-dir"):
        assert words in text
    code = "import sys, mnist_lstm; assert 'jax' not in sys.modules, 'jax was imported'"
    path = f"{ROOT / 'experiments'}:{ROOT}"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})


def test_help_that_nobody_reads_to_its_end_causes_no_stack_trace(tmp_path):
    process = start(tmp_path, "--help")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait(timeout=60) == 141


@pytest.fixture(scope="module")
def tiny_cache(tmp_path_factory):
    """A folder in which TFDS has prepared MNIST, shared by the runs that are cut off."""
    folder = tmp_path_factory.mktemp("runs")
    rnn_jax.data.load_images("mnist", folder / "tfds", bundled=BUNDLED)
    return folder


def test_a_run_stopped_by_ctrl_c_goes_on_as_if_it_had_not_been(tiny_cache):
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
    command = errors.strip().splitlines()[-1].partition("go on with: ")[2]
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


def test_two_processes_train_as_one(tiny_cache):
    """Both on loopback, with one device each; the same steps as one process with two devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    small = ["--examples", "2560", "--hidden-size", "8", "--devices", "2"]
    alone = start(tiny_cache, *small, "--out-dir", "alone")
    alone.communicate()
    together = [
        start(
            tiny_cache,
            *(*small, "--out-dir", "together", "--coordinator", f"127.0.0.1:{port}"),
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


def test_a_reader_that_goes_away_causes_no_stack_trace(tiny_cache):
    process = start(tiny_cache, "--examples", "20000", "--out-dir", "piped")
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=120) == 141
    assert "Traceback" not in errors


def test_nothing_prepared_and_no_originals_says_both_ways_out(tmp_path):
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
