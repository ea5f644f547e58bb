"""Mixtures of Bernoulli products, held against sums over all vectors and against their counts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.mixtures import mixture_log_prob, mixture_size, sample_mixture

WIDTH, COMPONENTS = 4, 3
VECTORS = np.array(list(itertools.product((0.0, 1.0), repeat=WIDTH)), np.float32)


@pytest.fixture(scope="module")
def logits():
    return 2 * np.random.default_rng(0).normal(size=mixture_size(COMPONENTS, WIDTH))


def chances(logits, temperature=1.0):
    """The probability of each of VECTORS, in NumPy."""
    logits = logits / temperature
    weights = np.exp(logits[:COMPONENTS]) / np.exp(logits[:COMPONENTS]).sum()
    ones = 1 / (1 + np.exp(-logits[COMPONENTS:].reshape(COMPONENTS, WIDTH)))
    return sum(
        weight * np.where(VECTORS == 1, p, 1 - p).prod(-1)
        for weight, p in zip(weights, ones, strict=True)
    )


def test_log_probabilities_are_those_of_the_mixture_and_sum_to_one(logits):
    found = mixture_log_prob(jnp.asarray(logits, jnp.float32), jnp.asarray(VECTORS))
    np.testing.assert_allclose(np.exp(found), chances(logits), rtol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(), 1, rtol=1e-5)


def test_impossible_vectors_have_finite_log_probabilities_and_gradients():
    logits = jnp.full(mixture_size(COMPONENTS, WIDTH), -1e4)
    value, slope = jax.value_and_grad(mixture_log_prob)(logits, jnp.ones(WIDTH))
    np.testing.assert_allclose(value, -4e4, rtol=1e-5)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_come_as_often_as_the_tempered_mixture_says(logits, temperature):
    keys = jax.random.split(jax.random.key(0), 40_000)
    fixed = jnp.asarray(logits, jnp.float32)
    drawn = jax.jit(jax.vmap(lambda key: sample_mixture(key, fixed, WIDTH, temperature)))(keys)
    places = np.asarray(drawn) @ 2 ** np.arange(WIDTH)[::-1]
    shares = np.bincount(places, minlength=len(VECTORS)) / len(keys)
    np.testing.assert_allclose(shares, chances(logits, temperature), atol=0.01)
