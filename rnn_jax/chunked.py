"""The fast driver: a scan over chunks of time, with one backward pass for every gated cell.

Inside a chunk of K steps the input projection and both weight gradients are one product each, small
enough to stay in cache; the recurrence itself is unrolled. The backward pass is written once, over
project / mix / update: `jax.vjp(update)` is its pointwise part. `scan.plain` is the reference.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.lax import optimization_barrier

from rnn_jax.cell import GatedCell
from rnn_jax.typing import Array, Carry, Float, Inputs, Params

CACHE_BYTES = 2**19
"""What the gates of one chunk may take: a part of a core's second-level cache."""
LONGEST = 8 if jax.__version_info__ >= (0, 11) else 4
"""The most steps of a chunk. jax 0.10 drops barriers before it fuses, see `_backward`."""


def chunk_length(cell: GatedCell, steps: int, batch: int) -> int:
    """K, the steps of a chunk: as many as keep its float32 gates in cache, 4 to `LONGEST`.

    A K that divides T is preferred, down to half of that, for then no shorter chunk is left over.
    """
    step_bytes = 4 * max(batch, 1) * len(cell.gates) * cell.hidden_size
    longest = min(max(CACHE_BYTES // step_bytes, 4), LONGEST, max(steps, 1))
    return next((k for k in range(longest, longest // 2, -1) if steps % k == 0), longest)


@partial(jax.jit, static_argnames=("cell", "chunk", "remat"))
def chunked(
    cell: GatedCell,
    params: Params,
    carry: Carry,
    xs: Inputs,
    chunk: int,
    remat: bool = False,
) -> tuple[Carry, Float[Array, "T ... H"]]:
    """`scan.plain` in chunks of `chunk` steps; the steps that fill no chunk form a shorter one.

    With `remat` only the carries between chunks are kept for the backward pass, which runs each
    chunk once more: memory grows with T/K instead of T.
    """
    return in_pieces(partial(scan_chunks, cell, remat), params, carry, xs, chunk)


def in_pieces(scan, params, carry, xs, chunk):
    """Run `scan(params, carry, xs [N, K, ...])` over all whole chunks, then over what is left."""
    steps = jax.tree.leaves(xs)[0].shape[0]
    left = steps % chunk
    if left and steps > chunk:
        carry, head = in_pieces(scan, params, carry, at(xs, slice(-left)), chunk)
        carry, tail = in_pieces(scan, params, carry, at(xs, slice(-left, None)), left)
        return carry, jnp.concatenate([head, tail])
    chunks = jax.tree.map(lambda x: x.reshape(-1, min(chunk, steps), *x.shape[1:]), xs)
    carry, ys = scan(params, carry, chunks)
    return carry, ys.reshape(steps, *ys.shape[2:])


def stack(steps):
    """One pytree with a leading time axis, of a list with a pytree for each step."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)


def at(tree, index):
    """Row `index` of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def add(total, term):
    """The sum of two pytrees."""
    return jax.tree.map(jnp.add, total, term)


def materialized(cotangent, like):
    """A cotangent as arrays: zeros [like's shape] where JAX says that nothing depends on a leaf."""

    def fill(d, leaf):
        return jnp.zeros_like(leaf) if isinstance(d, SymbolicZero) else d

    return jax.tree.map(fill, cotangent, like, is_leaf=lambda d: isinstance(d, SymbolicZero))


def run_chunk(cell, params, carry, xs):
    """One chunk forward: the carries before and after each step, and both sides of the gates."""
    x_gates = cell.project(params, xs)
    before, after, h_gates = [], [], []
    for k in range(jax.tree.leaves(xs)[0].shape[0]):
        before.append(carry)
        h_gates.append(cell.mix(params, carry))
        # The barrier keeps the slice out of the gates' loop, which it would stop vectorising.
        carry = cell.update(params, carry, optimization_barrier(at(x_gates, k)), h_gates[-1])
        after.append(carry)
    return before, after, x_gates, h_gates


def recall_chunk(cell, params, border, carries, xs):
    """What a chunk's backward pass needs: carries before and after each step, x_gates, h_gates.

    `border` is the carry before the chunk; `carries` are those after its steps, or None where they
    were not kept.
    """
    if carries is None:
        before, after, x_gates, h_gates = run_chunk(cell, params, border, xs)
        return stack(before), stack(after), x_gates, stack(h_gates)
    past = jax.tree.map(lambda first, c: jnp.concatenate([first[None], c[:-1]]), border, carries)
    return past, carries, cell.project(params, xs), cell.mix(params, past)


def turn(params):
    """Weights transposed once, as real copies: the backward loop's product reads them in order."""
    return jax.tree.map(lambda w: optimization_barrier(w.T).T if w.ndim == 2 else w, params)


def pull_step(cell, params, turned, past, x_gates, h_gates):
    """The backward pass of one step: d_after -> d_params (of update alone), d_past, d_x, d_h."""
    _, pull_update = jax.vjp(cell.update, params, past, x_gates, h_gates)
    _, pull_mix = jax.vjp(partial(cell.mix, turned), past)

    def pull(d_after):
        d_params, d_past, d_x_gates, d_h_gates = pull_update(d_after)
        return d_params, add(d_past, pull_mix(d_h_gates)[0]), d_x_gates, d_h_gates

    return pull


def pull_chunk(cell, params, past, xs, d_x_gates, d_h_gates):
    """The products that need no order in time, for a whole chunk: d_params and d_xs."""
    _, pull_project = jax.vjp(cell.project, params, xs)
    _, pull_mix = jax.vjp(lambda p: cell.mix(p, past), params)
    d_params, d_xs = pull_project(stack(d_x_gates))
    return add(d_params, pull_mix(stack(d_h_gates))[0]), d_xs


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def scan_chunks(cell, remat, params, carry, xs):
    """The final carry and ys [N, K, ...] for xs [N, K, ...]: N chunks one after the other."""
    return _scan(cell, remat, params, carry, xs)[0]


def _scan(cell, remat, params, carry, xs):
    """What `scan_chunks` returns, and what is kept: the carry before each chunk, after each step.

    One function for both forward passes: under vmap, JAX (0.10, 0.12) takes the batch axes of the
    one with residuals to be those of the one without.
    """

    def body(carry, xs):
        _, after, _, _ = run_chunk(cell, params, carry, xs)
        carries = stack(after)
        return after[-1], (carry, cell.readout(params, carries)) if remat else carries

    last, kept = jax.lax.scan(body, carry, xs)
    if remat:
        borders, ys = kept
        return (last, ys), (borders, None)
    borders = jax.tree.map(lambda first, c: jnp.concatenate([first[None], c[:-1, -1]]), carry, kept)
    return (last, cell.readout(params, kept)), (borders, kept)


def forward(cell, remat, params, carry, xs):
    """The forward pass, with what the backward pass needs of it; arguments as JAX passes them."""
    wants_d_xs = any(leaf.perturbed for leaf in jax.tree.leaves(xs))
    params, carry, xs = jax.tree.map(lambda leaf: leaf.value, (params, carry, xs))
    results, kept = _scan(cell, remat, params, carry, xs)
    return results, (params, xs, *kept, () if wants_d_xs else None)


def _backward(cell, remat, residuals, cotangents):
    params, xs, borders, carries, wants_d_xs = residuals
    d_carry, d_ys = cotangents
    d_carry = materialized(d_carry, at(borders, 0))
    d_ys = None if isinstance(d_ys, SymbolicZero) else d_ys
    turned = turn(params)

    def body(state, chunk):
        d_carry, d_params = state
        xs, border, carries, d_ys = chunk
        past, after, *gates = recall_chunk(cell, params, border, carries, xs)
        if d_ys is not None:
            d_readout, d_after = jax.vjp(cell.readout, params, after)[1](d_ys)
            d_params = add(d_params, d_readout)
        d_x_gates, d_h_gates = [], []
        for k in reversed(range(len(after[0]))):
            d_carry = d_carry if d_ys is None else add(d_carry, at(d_after, k))
            # Else XLA computes a field that passes elementwise, as an LSTM's c, from the chunk's
            # end anew for each step: work that grows with K squared.
            d_carry = optimization_barrier(d_carry)
            pull = pull_step(cell, params, turned, *at((past, *gates), k))
            d_update, d_carry, d_x, d_h = pull(d_carry)
            d_params = add(d_params, d_update)
            d_x_gates.insert(0, d_x)
            d_h_gates.insert(0, d_h)
        d_chunk, d_xs = pull_chunk(cell, params, past, xs, d_x_gates, d_h_gates)
        return (d_carry, add(d_params, d_chunk)), None if wants_d_xs is None else d_xs

    state = d_carry, wide_zeros(params)
    (d_carry, d_params), d_xs = jax.lax.scan(
        body, state, (xs, borders, carries, d_ys), reverse=True
    )
    d_params = jax.tree.map(lambda d, p: d.astype(p.dtype), d_params, params)
    return d_params, d_carry, jax.tree.map(jnp.zeros_like, xs) if d_xs is None else d_xs


def wide_zeros(params):
    """Where gradients of the parameters gather, in float32 or wider."""
    return jax.tree.map(
        lambda p: jnp.zeros(p.shape, jnp.promote_types(p.dtype, jnp.float32)), params
    )


scan_chunks.defvjp(forward, _backward, symbolic_zeros=True)
