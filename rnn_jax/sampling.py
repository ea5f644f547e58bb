"""Drawing what comes next from what a network says about it."""

import jax

from rnn_jax.typing import Array, Float, Int, Key


def sample_logits(
    key: Key[Array, ""], logits: Float[Array, "... C"], temperature: float = 1.0
) -> Int[Array, "..."]:
    """A class for each row of logits [..., C], drawn at a temperature above 0.

    The logits are divided by it: 1 draws from what they say, less from a sharper distribution.
    """
    return jax.random.categorical(key, logits / temperature)
