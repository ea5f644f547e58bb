"""Reference for masks and resets: a Python loop that runs every episode separately."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.testing.oracle import B, T, loop_back

EVERY = np.ones((T, B), bool)
MASK = np.array(
    [
        [1, 0, 1, 0],
        [1, 1, 0, 0],
        [0, 1, 1, 0],
        [1, 0, 1, 0],
        [0, 0, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 0],
    ],
    bool,
)
"""Gaps at both ends and between; a sequence of which nothing counts."""
RESETS = np.array(
    [
        [0, 1, 0, 0],
        [0, 1, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 1, 1],
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 1, 0],
    ],
    bool,
)
"""At the first step, at the last, twice in a row, where a step does not count or after it."""


def episodes(mask, resets, reverse):
    """The valid steps of a sequence in running order, split into episodes."""
    parts = [[]]
    for t in np.flatnonzero(mask):
        if resets[t]:
            parts.append([])
        parts[-1].append(t)
    return [part[::-1] for part in parts[::-1] if part] or [[]] if reverse else parts


def each_apart(cell, params, xs, carry, cotangents, *, mask=EVERY, resets=~EVERY, reverse=False):
    """Values and gradients of `unroll` with these options."""
    params, xs, carry, (d_last, d_ys) = jax.device_get((params, xs, carry, cotangents))
    fresh = partial(cell.start, batch_shape=(1, *xs.shape[2:-1]), dtype=jnp.float64)
    start, pull_start = jax.vjp(fresh, jax.tree.map(jnp.asarray, params))
    ys, d_xs, last, d_carry = np.zeros_like(d_ys), np.zeros_like(xs), [], []
    d_params = jax.tree.map(np.zeros_like, params)
    for b in range(B):
        one = slice(b, b + 1)
        given, d_end = jax.tree.map(lambda leaf, one=one: leaf[one], (carry, d_last))
        parts = episodes(mask[:, b], resets[:, b], reverse)
        for n, part in enumerate(parts):
            mine = np.array(part, int), one
            d_out = d_end if n == len(parts) - 1 else jax.tree.map(np.zeros_like, d_end)
            begin = start if n else given
            (end, ys[mine]), (d_more, d_xs[mine], d_begin) = loop_back(
                cell, params, xs[mine], begin, (d_out, d_ys[mine])
            )
            if n:
                d_more = jax.tree.map(np.add, d_more, pull_start(d_begin)[0])
            d_params = jax.tree.map(np.add, d_params, d_more)
            if not n:
                d_carry.append(d_begin)
        last.append(end)

    def joined(trees):
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)

    return (joined(last), ys), (d_params, d_xs, joined(d_carry))
