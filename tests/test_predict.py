"""predict.py classifies every readable image and reports the others."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from pictures import TEST_IMAGES, stroke
from PIL import Image
from predict import Config, main

from rnn_jax import InputError, load_image_classifier, load_run
from rnn_jax.datasets.idx import read_idx
from rnn_jax.models.factory import build_classifier
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.run_dir import RunDir

SETTINGS = {"cell": "gru", "hidden_size": 8, "input_size": 28, "projection_size": 0}
SETTINGS |= {"model": "rnn_jax.models.factory:build_classifier"}
SETTINGS |= {"num_classes": 10, "readout": "carry", "seed": 0, "sequence": "rows"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run that has not learned anything yet."""
    path = tmp_path_factory.mktemp("run")
    RunDir(path).write("config.json", SETTINGS)
    checkpoints = Checkpoints(path / "checkpoints")
    params = nnx.state(build_classifier(SETTINGS), nnx.Param)
    checkpoints.save(1, {"params": params}, {"settings": SETTINGS})
    checkpoints.wait()
    return path


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(255 - stroke(90)).save(path)
    return path


def test_a_classifier_scales_images_and_puts_time_first(run, unchecked):
    classify, settings = load_image_classifier(run)
    assert settings == SETTINGS
    images = read_idx(TEST_IMAGES)[:150]
    model, _ = load_run(run)
    logits = np.asarray(model(jnp.float32(images.swapaxes(0, 1)) / 255))
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(classify(images), expected, rtol=1e-5)
    assert classify(images[:0]).shape == (0, 10)
    with pytest.raises(InputError, match="images must be uint8"):
        classify(images / 255)


def test_numbers_of_images_share_one_compilation(run, compilations):
    classify, _ = load_image_classifier(run)
    images = read_idx(TEST_IMAGES)
    classify(images[:3])
    before = len(compilations)
    for count in (1, 2, 7, 130):
        classify(images[:count])
    assert len(compilations) == before


def test_an_unreadable_file_does_not_stop_the_others(run, picture, tmp_path, capsys):
    bad, gone = tmp_path / "bad\x1b[31m.png", tmp_path / "gone.png"
    bad.write_bytes(b"not an image")
    with pytest.raises(InputError, match="2 of 4 files could not be read"):
        main(Config(run, (picture, bad, gone, picture)))
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == [str(picture)] * 2
    assert r"bad\x1b[31m.png is not an image" in err and f"there is no file {gone}" in err
    assert "\x1b" not in out + err


def test_a_single_unreadable_file_gives_one_error(run, tmp_path, capsys):
    with pytest.raises(InputError, match="there is no file"):
        main(Config(run, (tmp_path / "gone.png",)))
    assert capsys.readouterr() == ("", "")


def test_a_low_probability_gives_a_warning(run, picture, capsys):
    config = Config(run, (picture,), confidence=1.0)
    ((digit, probability),) = main(config)
    out, err = capsys.readouterr()
    assert out == f"{picture}  {digit}  {probability:.1%}\n"
    assert err == f"predict.py: warning: {picture}: predicted with less than 100%.\n"
    main(dataclasses.replace(config, confidence=0.0))
    assert capsys.readouterr().err == ""
