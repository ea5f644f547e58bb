"""The conditional NADE, held against NumPy, sums over all vectors and counts of what is drawn."""

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
    """One whose parts depend on each other much."""
    graphdef, params = nnx.split(NADE(CONTEXT, WIDTH, HIDDEN, rngs=nnx.Rngs(0)))
    return nnx.merge(graphdef, jax.tree.map(lambda leaf: 2 * leaf, params))


@pytest.fixture(scope="module")
def contexts():
    return jnp.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]])


def chances(nade, contexts, weights, temperature=1.0):
    """The probability of each of VECTORS, part by part in NumPy float64."""
    contexts, kernel, bias, seen, said = (
        np.asarray(leaf, np.float64)
        for leaf in (contexts, nade.context.kernel, nade.context.bias, nade.seen, nade.said)
    )
    both = contexts @ kernel + bias
    found = []
    for xs in VECTORS:
        hidden, chance = both[:, :HIDDEN].copy(), 1.0
        for j, x in enumerate(xs):
            logit = np.dot(weights, both[:, HIDDEN + j] + np.maximum(hidden, 0) @ said[j])
            one = 1 / (1 + np.exp(-logit / temperature))
            chance *= one if x else 1 - one
            hidden += x * seen[j]
        found.append(chance)
    return np.array(found)


def test_log_probabilities_are_those_of_the_equations_and_sum_to_one(nade, contexts):
    context = jnp.broadcast_to(contexts[0], (len(VECTORS), CONTEXT))
    found = nade.log_prob(context, jnp.asarray(VECTORS))
    np.testing.assert_allclose(np.exp(found), chances(nade, contexts[:1], [1.0]), rtol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("weights", "temperature"), [([1.0], 1.0), ([1.0], 0.5), ([2.0, -1.0], 1.0)]
)
def test_draws_come_as_often_as_the_chances_say(nade, contexts, weights, temperature):
    """Tempered ones, and those of several contexts together."""
    keys, heard = jax.random.split(jax.random.key(0), 20_000), contexts[: len(weights)]
    weighed = jnp.array(weights)
    drawn = jax.jit(jax.vmap(lambda key: nade.sample(key, heard, weighed, temperature)))(keys)
    places = np.asarray(drawn) @ 2 ** np.arange(WIDTH)[::-1]
    shares = np.bincount(places, minlength=len(VECTORS)) / len(keys)
    expected = chances(nade, heard, weights, temperature)
    np.testing.assert_allclose(shares, expected, atol=0.015)
