"""Dot-product attention between two sequences."""

import jax
import jax.numpy as jnp

from rnn_jax.typing import Array, Float, Int
from rnn_jax.wrappers.masking import keep_mask


def dot_attention(
    queries: Float[Array, "T ... H"],
    keys: Float[Array, "S ... H"],
    lengths: Int[Array, "..."] | None = None,
) -> tuple[Float[Array, "T ... H"], Float[Array, "T S ..."]]:
    """Average the keys, weighted by the softmax of their dot products with each query.

    Args:
      queries: [T, ..., H].
      keys: [S, ..., H], which also serve as values.
      lengths: the number of valid keys [...], 0 to S; the weights of all others are zero. Without
        valid keys, context and weights are zero.

    Returns:
      The contexts [T, ..., H] and the weights [T, S, ...].

    Reference: Luong, Pham, Manning (2015), "Effective approaches to attention-based neural machine
    translation" (global attention, score "dot").
    """
    scores = jnp.einsum("t...h,s...h->ts...", queries, keys)
    if lengths is not None:
        keep = keep_mask(lengths, len(keys))
        # The softmax of a row of -inf would be NaN.
        scores = jnp.where(keep, scores, jnp.finfo(scores.dtype).min)
        weights = jax.nn.softmax(scores, 1) * keep
        keys = jnp.where(keep[..., None], keys, 0)
    else:
        weights = jax.nn.softmax(scores, 1)
    return jnp.einsum("ts...,s...h->t...h", weights, keys), weights
