"""Mixtures of Bernoulli products: binary vectors [W] whose parts depend on each other.

One of M components is chosen, then each part is drawn by itself with that component's probability.
The parameters are logits [..., M + M*W], as a linear layer gives them: M of the components, then
the W of each component in turn.
"""

import jax
import jax.numpy as jnp

from rnn_jax.sampling import sample_logits
from rnn_jax.typing import Array, Float, Int, Key


def mixture_size(components: int, width: int) -> int:
    """How many logits a mixture over vectors of `width` parts has."""
    return components * (1 + width)


def mixture_log_prob(
    logits: Float[Array, "... L"], vectors: Float[Array, "... W"]
) -> Float[Array, "..."]:
    """The log-probability [nats] of vectors [..., W] of zeros and ones."""
    weights, parts = _split(logits, vectors.shape[-1])
    given = (vectors[..., None, :] * parts - jax.nn.softplus(parts)).sum(-1)
    return jax.nn.logsumexp(jax.nn.log_softmax(weights) + given, -1)


def sample_mixture(
    key: Key[Array, ""], logits: Float[Array, " L"], width: int, temperature: float = 1.0
) -> Int[Array, " {width}"]:
    """A vector [W] of zeros and ones, its component and its parts drawn at a temperature above 0.

    See `rnn_jax.sampling.sample_logits`.
    """
    weights, parts = _split(logits, width)
    component, part = jax.random.split(key)
    ones = parts[sample_logits(component, weights, temperature)]
    return sample_logits(part, jnp.stack([jnp.zeros_like(ones), ones], -1), temperature)


def _split(logits, width):
    components = logits.shape[-1] // (1 + width)
    weights, parts = jnp.split(logits, [components], -1)
    return weights, parts.reshape(*logits.shape[:-1], components, width)
