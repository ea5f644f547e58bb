"""The MNIST experiment end to end on a few hundred digits, and its errors."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import predict
import pytest
from image_sets import digits
from mnist_lstm import Config, main
from PIL import Image

from rnn_jax import InputError, load_run
from rnn_jax.datasets import image_data

SMALL = {"hidden_size": 8, "projection_size": 4, "batch_size": 32, "examples": 200, "log_every": 3}


@pytest.fixture
def few_digits(monkeypatch):
    data = digits()
    monkeypatch.setattr(image_data, "load_images", lambda *args, **kwargs: data)
    return data


def test_a_run_writes_its_files(few_digits, tmp_path, capsys):
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


def test_a_repeated_command_keeps_every_run(few_digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        main(Config(**SMALL))
    assert {path.name for path in Path("runs").iterdir()} == {"mnist_lstm", "mnist_lstm-2"}


def test_a_finished_run_reports_it_and_can_be_loaded(few_digits, tmp_path, capsys):
    summary = main(Config(**SMALL, out_dir=tmp_path))
    assert main(Config(**SMALL, out_dir=tmp_path, resume=True)) == summary
    assert "finished" in capsys.readouterr().out
    model, settings = load_run(tmp_path)
    xs = jnp.moveaxis(image_data.to_sequences(few_digits.test_images), 0, 1)
    accuracy = np.mean(model(xs).argmax(-1) == few_digits.test_labels)
    assert settings["hidden_size"] == 8
    np.testing.assert_allclose(accuracy, summary["test_accuracy"], atol=1e-6)


def test_predictions_are_those_of_the_run(few_digits, tmp_path, capsys):
    main(Config(**SMALL, out_dir=tmp_path / "run"))
    picture = tmp_path / "digit.png"
    Image.fromarray(few_digits.test_images[0]).save(picture)
    model, _ = load_run(tmp_path / "run")
    xs = image_data.to_sequences(few_digits.test_images[:1])
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
def test_the_test_loss_is_that_of_the_saved_model_on_its_order_of_pixels(
    few_digits, tmp_path, options
):
    summary = main(Config(**(SMALL | {"examples": 64} | options), out_dir=tmp_path))
    model, settings = load_run(tmp_path)
    assert settings["cell"] == summary["cell"] == options["cell"]
    losses = {}
    for sequence in "pixels", "permuted-pixels":
        xs = image_data.to_sequences(few_digits.test_images, sequence)
        logits = model(jnp.moveaxis(xs, 0, 1))
        losses[sequence] = optax.softmax_cross_entropy_with_integer_labels(
            logits, few_digits.test_labels
        ).mean()
    np.testing.assert_allclose(losses.pop(options["sequence"]), summary["test_loss"], rtol=1e-4)
    assert all(abs(loss - summary["test_loss"]) > 1e-4 for loss in losses.values())


def test_the_defaults_are_the_classic_job():
    config = Config()
    assert (config.steps, config.batch_size, config.hidden_size) == (782, 128, 128)
    assert (config.projection_size, config.learning_rate, config.forget_bias) == (128, 1e-3, 1.0)


def test_a_batch_larger_than_the_data_set_is_an_error(few_digits, tmp_path):
    with pytest.raises(InputError, match="a batch of 302 is larger than the data set"):
        main(Config(batch_size=302, out_dir=tmp_path / "run"))
