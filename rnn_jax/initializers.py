"""Initializers that know about gates."""

import jax
import jax.numpy as jnp
from jax.nn import initializers

from rnn_jax.typing import Array, Float, Key


def per_gate(
    init: initializers.Initializer,
    key: Key[Array, ""],
    rows: int,
    hidden_size: int,
    gates: int,
) -> Float[Array, "{rows} {gates}*{hidden_size}"]:
    """Draw one [rows, H] matrix for each gate and lay them side by side: [rows, G*H].

    Drawing the fused matrix at once would give every gate the wrong scale (its fan-out is counted
    G times) and make no gate orthogonal.
    """
    draw = jax.vmap(lambda k: init(k, (rows, hidden_size), jnp.float32))
    return jnp.concatenate(list(draw(jax.random.split(key, gates))), axis=1)


def orthogonal_per_gate(
    key: Key[Array, ""], hidden_size: int, gates: int
) -> Float[Array, "{hidden_size} {gates}*{hidden_size}"]:
    """Recurrent matrix [H, G*H], each gate's [H, H] block orthogonal.

    Reference: Saxe, McClelland, Ganguli (2014), "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks".
    """
    return per_gate(initializers.orthogonal(), key, hidden_size, hidden_size, gates)
