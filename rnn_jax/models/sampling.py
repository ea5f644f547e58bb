"""Sampling of classes from logits."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Int, Key

MIN_TEMPERATURE = 1e-20
"""Temperatures up to this value are greedy: the quotient logits / temperature could overflow."""


def sample_logits(
    key: Key[Array, ""], logits: Float[Array, "... C"], temperature: float | Float[Array, ""] = 1.0
) -> Int[Array, "..."]:
    """Sample a class from each row of logits [..., C].

    The probabilities are softmax(logits / temperature); temperature 0 takes the class with the
    highest logit. A traced temperature cannot be checked: values not above 0 count as 0.

    Raises:
      InputError: a temperature that is negative or not finite.
    """
    logits = jnp.asarray(logits)
    if isinstance(temperature, Tracer):
        positive = temperature > MIN_TEMPERATURE
        sampled = jax.random.categorical(key, logits / jnp.where(positive, temperature, 1))
        return jnp.where(positive, sampled, logits.argmax(-1))
    check_temperature(temperature)
    if float(temperature) <= MIN_TEMPERATURE:
        return logits.argmax(-1)
    return jax.random.categorical(key, logits / temperature)


def check_temperature(temperature: Any) -> None:
    """Raise InputError unless `temperature` is a single finite number of at least 0."""
    scalar = isinstance(temperature, numbers.Real) or (
        isinstance(temperature, np.ndarray | np.generic | jax.Array) and temperature.shape == ()
    )
    if not scalar or isinstance(temperature, bool) or not 0 <= float(temperature) < np.inf:
        raise InputError(
            f"temperature must be a finite number of at least 0, got {temperature!r}; 0 always "
            "takes the most likely class."
        )
