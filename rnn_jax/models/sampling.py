"""Drawing classes from the logits of a network."""

import numbers

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Int, Key

COLDEST = 1e-20
"""Temperatures below this one are greedy: logits divided by them could overflow."""


def sample_logits(
    key: Key[Array, ""], logits: Float[Array, "... C"], temperature: float | Float[Array, ""] = 1.0
) -> Int[Array, "..."]:
    """A class for each row of logits [..., C], drawn at a temperature.

    The probabilities are the softmax of logits / temperature: below 1 likelier classes are drawn
    more often. At temperature 0 the class with the highest logit is taken. A temperature that is
    traced cannot be checked: one that is not above 0 counts as 0.

    Raises:
      InputError: a temperature that is negative, infinite or no number.
    """
    logits = jnp.asarray(logits)
    if isinstance(temperature, jax.core.Tracer):
        warm = temperature > COLDEST
        drawn = jax.random.categorical(key, logits / jnp.where(warm, temperature, 1))
        return jnp.where(warm, drawn, logits.argmax(-1))
    check_temperature(temperature)
    if float(temperature) <= COLDEST:
        return logits.argmax(-1)
    return jax.random.categorical(key, logits / temperature)


def check_temperature(temperature: object) -> None:
    """Raise InputError unless `temperature` is one finite number of at least 0."""
    scalar = isinstance(temperature, numbers.Real) or (
        isinstance(temperature, np.ndarray | np.generic | jax.Array) and temperature.shape == ()
    )
    if not scalar or isinstance(temperature, bool) or not 0 <= float(temperature) < np.inf:
        raise InputError(
            f"temperature must be a finite number of at least 0, got {temperature!r}; 0 always "
            "takes the likeliest class."
        )
