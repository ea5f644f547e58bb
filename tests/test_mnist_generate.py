"""Digits written row by row: that they are learnt, how they are judged, and that a run goes on."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_loop import stop_at
from test_mnist_lstm import digits

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "experiments"))
from mnist_generate import Config, main  # noqa: E402

from rnn_jax import InputError, data, load_run, reading  # noqa: E402
from rnn_jax.errors import Stopped  # noqa: E402
from rnn_jax.reading import image_reader  # noqa: E402
from rnn_jax.writing import binarise, build_writer  # noqa: E402

SMALL = {"hidden_size": 32, "row_size": 8, "batch_size": 32, "learning_rate": 0.01, "devices": 1}
HEIGHT, WIDTH = 3, 2
IMAGES = np.array(np.meshgrid(*[(0, 1)] * 6)).reshape(6, -1).T.reshape(-1, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def few():
    """A few digits in place of MNIST, and who reads them: the nearest mean of a class."""
    few = digits()
    means = np.stack([few.train_images[few.train_labels == digit].mean(0) for digit in range(10)])

    def chances(images):
        return -((images[:, None] - means) ** 2.0).sum((-1, -2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load_images", lambda *args, **kwargs: few)
        patch.setattr(reading, "image_reader", lambda folder: (chances, {"dataset": "mnist"}))
        yield few


@pytest.fixture(scope="module")
def trained(few, tmp_path_factory):
    """The config and the summary of a run of 60 steps."""
    config = Config(**SMALL, examples=60 * 32, out_dir=tmp_path_factory.mktemp("runs") / "whole")
    return config, main(config)


def rows(folder):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name != "examples_per_second"} for row in found]


def test_the_network_learns_to_write(few, trained):
    """Better than to know for each digit how often each pixel is ink: rows tell of the next one."""
    config, summary = trained
    inked = binarise(few.train_images, "threshold")
    means = np.stack([inked[few.train_labels == digit].mean(0) for digit in range(10)])
    chances = np.clip(means, 0.02, 0.98)[few.test_labels]
    test = binarise(few.test_images, "threshold")
    known = -np.log(np.where(test, chances, 1 - chances)).sum((1, 2)).mean()
    assert summary["test_nll"] < known
    assert summary["temperature"] == config.temperature
    assert 0 < summary["read_as_asked"] <= 1 and summary["real_read"] > 0.6


def test_a_run_writes_what_it_promises_and_can_be_read_back(few, trained):
    config, summary = trained
    assert json.loads((config.out_dir / "summary.json").read_text()) == summary
    for name in ("training.png", "samples.png"):
        assert (config.out_dir / name).read_bytes().startswith(b"\x89PNG")
    model, _ = load_run(config.out_dir, build_writer)
    asked = jax.nn.one_hot(few.test_labels, 10)
    nats = model.nats(jnp.asarray(binarise(few.test_images, config.ink)), asked)
    np.testing.assert_allclose(nats.mean(), summary["test_nll"], rtol=1e-5)


def test_a_run_cut_in_two_is_the_run_never_cut(trained, tmp_path, monkeypatch):
    config, whole = trained
    cut = dataclasses.replace(config, out_dir=tmp_path, checkpoint_every=25)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(patch, 25)
        main(cut)
    resumed = main(dataclasses.replace(cut, resume=True))
    for name in ("test_nll", "read_as_asked", "real_read"):
        assert resumed[name] == whole[name]
    assert rows(tmp_path) == rows(config.out_dir)


@pytest.fixture(scope="module")
def writer():
    """A network that writes tiny images, with weights that make it care for what is above."""
    sizes = {"hidden_size": 5, "row_size": 4, "asked_size": 2, "width": WIDTH}
    graphdef, params = nnx.split(build_writer({"cell": "gru", "seed": 0, **sizes}))
    return nnx.merge(graphdef, jax.tree.map(lambda leaf: 2 * leaf, params))


def test_the_chances_of_all_images_sum_to_one_for_each_label(writer):
    for label in np.eye(2, dtype=np.float32):
        asked = jnp.tile(label, (len(IMAGES), 1))
        nats = writer.nats(jnp.asarray(IMAGES, jnp.uint8), asked)
        np.testing.assert_allclose(np.exp(-nats).sum(), 1, rtol=1e-5)


def test_images_are_drawn_as_often_as_their_likelihood_says(writer):
    count, asked = 20_000, jnp.array([0.0, 1.0])
    keys = jax.random.split(jax.random.key(0), count)
    drawn = jax.jit(lambda keys: writer.draw(keys, jnp.tile(asked, (count, 1)), HEIGHT))(keys)
    same = (np.asarray(drawn)[:, None] == IMAGES).all((-1, -2))
    nats = writer.nats(jnp.asarray(IMAGES, jnp.uint8), jnp.tile(asked, (len(IMAGES), 1)))
    np.testing.assert_allclose(same.mean(0), np.exp(-nats), atol=0.012)


def test_ink_is_what_is_above_the_threshold_or_drawn_by_its_grey_value():
    grey = np.repeat(np.array([[0, 51, 127, 128, 255]], np.uint8), 10_000, axis=0)
    np.testing.assert_array_equal(binarise(grey, "threshold")[0], [0, 0, 0, 1, 1])
    sampled = binarise(grey, "sampled")
    np.testing.assert_allclose(sampled.mean(0), [0, 0.2, 127 / 255, 128 / 255, 1], atol=0.02)
    assert sampled[:, 0].max() == 0 and sampled[:, -1].min() == 1
    np.testing.assert_array_equal(sampled, binarise(grey, "sampled"))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"row_size": 0}, "--row-size must be at least 1, got 0"),
        ({"temperature": 0.0}, "--temperature must be above 0, got 0"),
        ({"cell": "lstn"}, "cell must be one of .*; got 'lstn'"),
    ],
)
def test_a_mistake_is_one_sentence(few, tmp_path, flags, sentence):
    with pytest.raises(InputError, match=sentence):
        main(Config(**flags, out_dir=tmp_path))


def test_without_a_classifier_the_command_that_makes_one_is_named(tmp_path):
    with pytest.raises(InputError, match=r"make one with: python experiments/mnist_lstm\.py"):
        image_reader(tmp_path / "nowhere")
