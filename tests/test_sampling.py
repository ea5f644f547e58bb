"""Sampling from logits: greedy at temperature 0, and errors for invalid temperatures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import InputError
from rnn_jax.models.sampling import sample_logits

KEY = jax.random.key(0)
LOGITS = jnp.array([[0.0, 3.0, 1.0], [5.0, -2.0, 4.9], [-3.0, -2.0, -1.0]])
ARGMAX = [1, 0, 2]


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, 1e-300, jnp.array(0.0)])
def test_temperature_0_takes_the_most_likely_class(zero):
    np.testing.assert_array_equal(sample_logits(KEY, LOGITS, zero), ARGMAX)


def test_a_traced_temperature_samples_like_a_concrete_one():
    sample = jax.jit(lambda temperature: sample_logits(KEY, LOGITS, temperature))
    np.testing.assert_array_equal(sample(0.0), ARGMAX)
    np.testing.assert_array_equal(sample(2.0), sample_logits(KEY, LOGITS, 2.0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "temperature", [-1.0, -1e-30, np.nan, np.inf, -np.inf, "0.7", None, True, [0.5], np.ones(3)]
)
def test_an_invalid_temperature_is_an_error(temperature):
    with pytest.raises(InputError, match="temperature must be a finite number of at least 0"):
        sample_logits(KEY, LOGITS, temperature)
