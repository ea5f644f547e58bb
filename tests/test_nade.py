"""The conditional NADE, compared with NumPy, sums over all vectors and counts of samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax.models.nade import NADE

WIDTH, HIDDEN, CONTEXT = 4, 5, 3
VECTORS = np.array(list(itertools.product((0.0, 1.0), repeat=WIDTH)), np.float32)


@pytest.fixture(scope="module")
def nade():
    """A NADE whose elements depend strongly on each other."""
    graphdef, params = nnx.split(NADE(CONTEXT, WIDTH, HIDDEN, rngs=nnx.Rngs(0)))
    return nnx.merge(graphdef, jax.tree.map(lambda leaf: 2 * leaf, params))


@pytest.fixture(scope="module")
def contexts():
    return jnp.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]])


def probabilities(nade, contexts, weights, temperature=1.0):
    """The probability of each of VECTORS, element by element in NumPy float64."""
    contexts, kernel, bias, seen, said = (
        np.asarray(leaf, np.float64)
        for leaf in (contexts, nade.context.kernel, nade.context.bias, nade.seen, nade.said)
    )
    outputs = contexts @ kernel + bias
    found = []
    for xs in VECTORS:
        hidden, probability = outputs[:, :HIDDEN].copy(), 1.0
        for j, x in enumerate(xs):
            logit = np.dot(weights, outputs[:, HIDDEN + j] + np.maximum(hidden, 0) @ said[j])
            one = 1 / (1 + np.exp(-logit / temperature))
            probability *= one if x else 1 - one
            hidden += x * seen[j]
        found.append(probability)
    return np.array(found)


def test_log_prob_follows_the_equations_and_sums_to_one(nade, contexts):
    context = jnp.broadcast_to(contexts[0], (len(VECTORS), CONTEXT))
    found = nade.log_prob(context, jnp.asarray(VECTORS))
    np.testing.assert_allclose(np.exp(found), probabilities(nade, contexts[:1], [1.0]), rtol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("weights", "temperature"), [([1.0], 1.0), ([1.0], 0.5), ([2.0, -1.0], 1.0)]
)
def test_sample_frequencies_match_the_probabilities(nade, contexts, weights, temperature):
    """With temperatures, and with several weighted contexts."""
    keys, used = jax.random.split(jax.random.key(0), 20_000), contexts[: len(weights)]
    weight_array = jnp.array(weights)
    samples = jax.jit(jax.vmap(lambda key: nade.sample(key, used, weight_array, temperature)))(keys)
    index = np.asarray(samples) @ 2 ** np.arange(WIDTH)[::-1]
    shares = np.bincount(index, minlength=len(VECTORS)) / len(keys)
    expected = probabilities(nade, used, weights, temperature)
    np.testing.assert_allclose(shares, expected, atol=0.015)


def test_sampling_works_with_64_bit_types(float64):
    nade = NADE(3, 5, 4, rngs=nnx.Rngs(0))
    row = nade.sample(jax.random.key(0), jnp.ones((2, 3), jnp.float32), jnp.ones(2, jnp.float32))
    assert row.shape == (5,)
