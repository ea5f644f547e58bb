"""Digits generated row by row: learning, evaluation and resuming."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cut import cut_and_resumed, rows
from flax import nnx
from image_sets import digits
from mnist_generate import Config, main

from rnn_jax import GRUCell, InputError, learned_carry, load_run
from rnn_jax.datasets import image_data
from rnn_jax.models.row_generator import (
    RowGenerator,
    binarize,
    row_generator_loss,
)
from rnn_jax.training.runs import digit_reader
from rnn_jax.training.runs.digit_reader import load_image_classifier

SMALL = {"hidden_size": 32, "row_size": 8, "batch_size": 32, "learning_rate": 0.01, "devices": 1}
HEIGHT, WIDTH = 3, 2
IMAGES = np.array(np.meshgrid(*[(0, 1)] * 6)).reshape(6, -1).T.reshape(-1, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def few():
    """A few digits instead of MNIST, and a classifier by the nearest class mean."""
    few = digits()
    means = np.stack([few.train_images[few.train_labels == digit].mean(0) for digit in range(10)])

    def scores(images):
        return -((images[:, None] - means) ** 2.0).sum((-1, -2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_data, "load_images", lambda *args, **kwargs: few)
        patch.setattr(
            digit_reader,
            "load_image_classifier",
            lambda folder, **_: (scores, {"dataset": "mnist"}),
        )
        yield few


@pytest.fixture(scope="module")
def trained(few, tmp_path_factory):
    """The config and the summary of a run of 60 steps."""
    config = Config(**SMALL, examples=60 * 32, out_dir=tmp_path_factory.mktemp("runs") / "whole")
    return config, main(config)


def test_the_network_learns_to_generate_digits(few, trained):
    """The model beats the pixel frequencies of each digit, since it uses the rows above."""
    config, summary = trained
    inked = binarize(few.train_images, "threshold")
    means = np.stack([inked[few.train_labels == digit].mean(0) for digit in range(10)])
    ink = np.clip(means, 0.02, 0.98)[few.test_labels]
    test = binarize(few.test_images, "threshold")
    known = -np.log(np.where(test, ink, 1 - ink)).sum((1, 2)).mean()
    assert summary["test_nll"] < known
    assert summary["temperature"] == config.temperature
    assert 0 < summary["samples_correct"] <= 1 and summary["real_correct"] > 0.6


def test_a_run_writes_its_files_and_can_be_loaded(few, trained):
    config, summary = trained
    assert json.loads((config.out_dir / "summary.json").read_text()) == summary
    for name in ("training.png", "samples.png"):
        assert (config.out_dir / name).read_bytes().startswith(b"\x89PNG")
    model, _ = load_run(config.out_dir)
    condition = jax.nn.one_hot(few.test_labels, 10)
    nll = model.nll(jnp.asarray(binarize(few.test_images, config.ink)), condition)
    np.testing.assert_allclose(nll.mean(), summary["test_nll"], rtol=1e-5)


def test_a_resumed_run_equals_an_uninterrupted_one(trained, tmp_path):
    config, whole = trained
    resumed = cut_and_resumed(main, dataclasses.replace(config, out_dir=tmp_path), 25)
    for name in ("test_nll", "samples_correct", "real_correct"):
        assert resumed[name] == whole[name]
    assert rows(tmp_path) == rows(config.out_dir)


def test_a_finished_run_samples_again_with_other_options(trained, tmp_path, capsys):
    config, whole = trained
    shutil.copytree(config.out_dir, tmp_path / "copy")
    again = dataclasses.replace(config, out_dir=tmp_path / "copy", resume=True)
    assert main(again) == whole
    assert "nothing is left to do" in capsys.readouterr().out
    bolder = main(dataclasses.replace(again, guidance=1.0))
    assert bolder["guidance"] == 1 and bolder["test_nll"] == whole["test_nll"]
    assert bolder["train_seconds"] == whole["train_seconds"]
    assert rows(again.out_dir) == rows(config.out_dir)


@pytest.fixture(scope="module")
def generator():
    """A generator of tiny images whose rows depend strongly on the rows above.

    Its learned initial carry is not zero.
    """
    cell = learned_carry(GRUCell(5))
    graphdef, params = nnx.split(RowGenerator(cell, 2, WIDTH, 4, rngs=nnx.Rngs(0)))
    return nnx.merge(graphdef, jax.tree.map(lambda leaf: 2 * leaf + 0.5, params))


def probabilities(generator, condition):
    """The probability of each of IMAGES given a condition."""
    images = jnp.asarray(IMAGES, jnp.uint8)
    nll = generator.nll(images, jnp.tile(jnp.asarray(condition), (len(images), 1)))
    return np.exp(-np.asarray(nll, float))


def guided(conditional, unconditional, guidance):
    """The probabilities of IMAGES, pixel by pixel, from the logits of two distributions."""
    pixels, found = IMAGES.reshape(len(IMAGES), -1), np.ones(len(IMAGES))
    for number, image in enumerate(pixels):
        for j, pixel in enumerate(image):
            logits = []
            for probability in (conditional, unconditional):
                so_far = probability * (pixels[:, :j] == image[:j]).all(1)
                ink = so_far[pixels[:, j] == 1].sum() / so_far.sum()
                logits.append(np.log(ink / (1 - ink)))
            ink = 1 / (1 + np.exp(-logits[1] - guidance * (logits[0] - logits[1])))
            found[number] *= ink if pixel else 1 - ink
    return found


def test_the_probabilities_of_all_images_sum_to_one(generator):
    for label in np.eye(2, dtype=np.float32):
        np.testing.assert_allclose(probabilities(generator, label).sum(), 1, rtol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_sample_frequencies_match_the_likelihood(generator, guidance):
    """With guidance, the frequencies follow both likelihoods together."""
    count, condition = 20_000, jnp.array([0.0, 1.0])
    keys, conditions = jax.random.split(jax.random.key(0), count), jnp.tile(condition, (count, 1))
    sample = jax.jit(lambda keys: generator.sample(keys, conditions, HEIGHT, guidance=guidance))
    same = (np.asarray(sample(keys))[:, None] == IMAGES).all((-1, -2))
    expected = guided(
        probabilities(generator, condition), probabilities(generator, 0 * condition), guidance
    )
    np.testing.assert_allclose(same.mean(0), expected, atol=0.012)


def test_a_fraction_of_the_conditions_is_replaced_by_zeros(generator):
    """The loss is a random mixture of the conditional and the unconditional one."""
    images = jnp.tile(jnp.asarray(IMAGES, jnp.uint8), (40, 1, 1))
    condition = jnp.tile(jnp.eye(2), (len(images) // 2, 1))
    batch, keys = (images, condition), jax.random.split(jax.random.key(0), len(images))
    found = [row_generator_loss(generator, batch, keys, share)[0] for share in (0.0, 0.25, 1.0)]
    conditional, unconditional = (
        generator.nll(images, given).mean() for given in (condition, 0 * condition)
    )
    np.testing.assert_allclose(found[::2], [conditional, unconditional], rtol=1e-6)
    np.testing.assert_allclose(found[1], 0.75 * conditional + 0.25 * unconditional, rtol=0.02)


def test_binarize_uses_a_threshold_or_samples():
    gray = np.repeat(np.array([[0, 51, 127, 128, 255]], np.uint8), 10_000, axis=0)
    np.testing.assert_array_equal(binarize(gray, "threshold")[0], [0, 0, 0, 1, 1])
    sampled = binarize(gray, "sampled")
    np.testing.assert_allclose(sampled.mean(0), [0, 0.2, 127 / 255, 128 / 255, 1], atol=0.02)
    assert sampled[:, 0].max() == 0 and sampled[:, -1].min() == 1
    np.testing.assert_array_equal(sampled, binarize(gray, "sampled"))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"row_size": 0}, "--row-size must be at least 1, got 0"),
        ({"temperature": -0.1}, "--temperature must be at least 0, got -0.1"),
        ({"guidance": 0.0}, "--guidance must be above 0, got 0"),
        ({"unlabelled": 0.0}, "--unlabelled must be below 1, and above 0 for guidance, got 0"),
        ({"cell": "lstn"}, "cell must be one of .*; got 'lstn'"),
    ],
)
def test_a_mistake_is_one_sentence(few, tmp_path, flags, sentence):
    with pytest.raises(InputError, match=sentence):
        main(Config(**flags, out_dir=tmp_path))


def test_without_a_classifier_the_error_names_the_command_for_it(tmp_path):
    with pytest.raises(InputError, match=r"train one with: python experiments/mnist_lstm\.py"):
        load_image_classifier(tmp_path / "nowhere")
