"""Drawing from logits: greedy at temperature 0, and no other temperature that is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import InputError
from rnn_jax.models.sampling import sample_logits

KEY = jax.random.key(0)
LOGITS = jnp.array([[0.0, 3.0, 1.0], [5.0, -2.0, 4.9], [-3.0, -2.0, -1.0]])
LIKELIEST = [1, 0, 2]


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, 1e-300, jnp.array(0.0)])
def test_temperature_0_takes_the_likeliest_class(zero):
    np.testing.assert_array_equal(sample_logits(KEY, LOGITS, zero), LIKELIEST)


def test_a_traced_temperature_is_greedy_at_0_and_draws_as_any_other_above():
    draw = jax.jit(lambda temperature: sample_logits(KEY, LOGITS, temperature))
    np.testing.assert_array_equal(draw(0.0), LIKELIEST)
    np.testing.assert_array_equal(draw(2.0), sample_logits(KEY, LOGITS, 2.0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "temperature", [-1.0, -1e-30, np.nan, np.inf, -np.inf, "0.7", None, True, [0.5], np.ones(3)]
)
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(InputError, match="temperature must be a finite number of at least 0"):
        sample_logits(KEY, LOGITS, temperature)
