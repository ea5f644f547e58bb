"""Losses on ragged batches, and error rates of recognized labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.models.ctc import edit_distance, greedy_decode, label_error_rate
from rnn_jax.training import transcription


def scored(seed=0, count=40, steps=9, classes=4):
    return np.random.default_rng(seed).normal(size=(count, steps, classes)).astype(np.float32)


def test_greedy_errors_are_edit_distances_of_greedy_decoding():
    logits, random = scored(), np.random.default_rng(1)
    steps, counts = random.integers(0, 10, 40), random.integers(0, 6, 40)
    labels = random.integers(1, 4, (40, 5))
    found = jax.jit(transcription.greedy_errors)(logits, steps, labels, counts)
    truths = [each[:count].tolist() for each, count in zip(labels, counts, strict=True)]
    assert [*map(edit_distance, greedy_decode(logits, steps), truths)] == found.tolist()


def test_padding_changes_neither_loss():
    logits, steps = jnp.asarray(scored()), jnp.asarray(np.random.default_rng(1).integers(5, 10, 40))
    labels = jnp.asarray(np.random.default_rng(2).integers(1, 4, (40, 2)))
    noise = jnp.where(jnp.arange(9)[:, None] < steps[:, None, None], logits, 1e3)
    for loss in (transcription.ctc_loss, transcription.single_label_loss):
        own = labels[:, :1] if "single" in loss.__name__ else labels
        counts = jnp.full(40, own.shape[1])
        found, padded = (loss(each, steps, own, counts) for each in (logits, noise))
        np.testing.assert_allclose(found, padded, rtol=1e-5)


@pytest.mark.parametrize("longest, size", [(3, 4), (4, 4), (5, 8), (8, 8)])
def test_a_batch_is_cut_to_the_smallest_size_that_holds_it(longest, size):
    xs = jnp.ones((2, 8, 1))
    cut = jax.jit(lambda xs, n: transcription.at_length(jnp.sum, xs, n, (4, 8)))
    assert cut(xs, jnp.array([1, longest])) == 2 * size


def test_edit_distances_are_known_ones():
    pairs = {("kitten", "sitting"): 3, ("", "ab"): 2, ("a", "a"): 0}
    for (made, truth), want in pairs.items():
        assert edit_distance(made, truth) == edit_distance(truth, made) == want
    assert label_error_rate([(1, 2), (3,)], [(1,), (3, 4, 5)]) == 0.75


def test_error_rates_are_given_for_each_group():
    found = transcription.error_rates([(1,), (2,), (3,)], [(1,), (1,), (3,)], ["a", "b", "b"])
    assert found["speaker_error_rates"] == {"a": 0, "b": 0.5}
    assert found["digit_error_rate"] == found["speaker_error_rates"]["b"] * 2 / 3
    assert found["strings_right"] == pytest.approx(2 / 3)
