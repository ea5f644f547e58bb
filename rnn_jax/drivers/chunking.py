"""Chunks of time: their length, a scan over them, and operations on every leaf of a tree."""

import math

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.lax import optimization_barrier

from rnn_jax.cells.array_ops import widest
from rnn_jax.cells.base import GatedCell

CACHE_BYTES = 2**19
"""Memory for the gates of one chunk: part of the L2 cache of a core."""
LONGEST = 8
"""Maximum number of steps in a chunk."""
NARROW = 16
"""An input with at most 1/16 as many entries as its gates is projected at each step."""


def batch_size(carry) -> int:
    """The number of sequences in a carry; 1 if it is symbolic, in an exported program."""
    size = math.prod(jax.tree.leaves(carry)[0].shape[:-1])
    return size if isinstance(size, int) else 1


def chunk_length(cell: GatedCell, steps: int, batch: int) -> int:
    """The number of steps K in a chunk: 4 to `LONGEST`, as many as keep float32 gates in cache.

    A K that divides T is preferred, down to half of the maximum, so that no shorter chunk remains.
    """
    step_bytes = 4 * max(batch, 1) * len(cell.gates) * cell.hidden_size
    longest = min(max(CACHE_BYTES // step_bytes, 4), LONGEST, max(steps, 1))
    return next((k for k in range(longest, longest // 2, -1) if steps % k == 0), longest)


def projected_per_step(cell: GatedCell, params, x) -> bool:
    """True if each step projects its input `x`, so that the gates of a chunk are never in memory.

    This is faster for inputs much smaller than their gates, such as single pixels.
    """
    gates = jax.eval_shape(cell.project, params, x)
    return NARROW * _entries(x) <= _entries(gates)


def _entries(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def in_pieces(scan, carry, xs, chunk):
    """Run `scan(carry, xs [N, K, ...])` over all whole chunks, then over the remaining steps."""
    steps = jax.tree.leaves(xs)[0].shape[0]
    chunk = min(chunk, steps)
    left = steps % chunk if steps else 0
    if left:
        carry, head = in_pieces(scan, carry, at(xs, slice(-left)), chunk)
        carry, tail = in_pieces(scan, carry, at(xs, slice(-left, None)), left)
        return carry, jnp.concatenate([head, tail])
    count = steps // chunk if steps else 0
    chunks = jax.tree.map(lambda x: x.reshape(count, chunk, *x.shape[1:]), xs)
    carry, ys = scan(carry, chunks)
    return carry, ys.reshape(steps, *ys.shape[2:])


def stack(steps):
    """Stack a list of pytrees, one for each step, along a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)


def at(tree, index):
    """Row `index` of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def add(total, term):
    """The sum of two pytrees."""
    return jax.tree.map(jnp.add, total, term)


def turn(params):
    """Store the weights transposed, so that the backward loop reads memory in order."""
    return jax.tree.map(lambda w: optimization_barrier(w.T).T if w.ndim == 2 else w, params)


def materialized(cotangent, like):
    """A cotangent as arrays: symbolic zeros become zeros with the shapes of `like`."""

    def fill(d, leaf):
        return jnp.zeros_like(leaf) if isinstance(d, SymbolicZero) else d

    return jax.tree.map(fill, cotangent, like, is_leaf=lambda d: isinstance(d, SymbolicZero))


def wide_zeros(params):
    """Zeros for accumulating the gradients of the parameters, in float32 or wider."""
    return jax.tree.map(lambda p: jnp.zeros(p.shape, widest(p.dtype, jnp.float32)), params)


def narrowed(d_params, params):
    """Gradients accumulated in `wide_zeros`, cast to the dtypes of the parameters."""
    return jax.tree.map(lambda d, p: d.astype(p.dtype), d_params, params)
