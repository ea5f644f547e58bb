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

CACHE_BYTES = 2**18
"""What the gates of one chunk may take: a small part of a core's second-level cache."""


def chunk_length(cell: GatedCell, steps: int, batch: int) -> int:
    """K, the steps of a chunk: as many as keep a chunk's float32 gates in cache, 4 to 16.

    A K that divides T is preferred, down to half of that, for then no shorter chunk is left over.
    """
    step_bytes = 4 * max(batch, 1) * len(cell.gates) * cell.hidden_size
    longest = min(max(CACHE_BYTES // step_bytes, 4), 16, max(steps, 1))
    return next((k for k in range(longest, longest // 2, -1) if steps % k == 0), longest)


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
    steps = jax.tree.leaves(xs)[0].shape[0]
    whole = steps - steps % chunk
    pieces = []
    for start, stop, length in ((0, whole, chunk), (whole, steps, steps - whole)):
        if start < stop:
            shape = (stop - start) // length, length
            piece = jax.tree.map(lambda x: x[start:stop].reshape(*shape, *x.shape[1:]), xs)  # noqa: B023
            carry, ys = _scan(cell, remat, params, carry, piece)
            pieces.append(ys.reshape(stop - start, *ys.shape[2:]))
    return carry, pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)


def _stack(steps):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)


def _at(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _add(total, term):
    return jax.tree.map(jnp.add, total, term)


def _run(cell, params, carry, xs):
    """One chunk forward: the carries before and after each step, and both sides of the gates."""
    # The barrier keeps each step's slice out of the gates' loop, which it would stop vectorising.
    x_gates = cell.project(params, xs)
    before, after, h_gates = [], [], []
    for k in range(jax.tree.leaves(xs)[0].shape[0]):
        before.append(carry)
        h_gates.append(cell.mix(params, carry))
        carry = cell.update(params, carry, optimization_barrier(_at(x_gates, k)), h_gates[-1])
        after.append(carry)
    return before, after, x_gates, h_gates


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _scan(cell, remat, params, carry, xs):
    def body(carry, xs):
        _, after, _, _ = _run(cell, params, carry, xs)
        return after[-1], cell.readout(params, _stack(after))

    return jax.lax.scan(body, carry, xs)


def _forward(cell, remat, params, carry, xs):
    wants_d_xs = any(leaf.perturbed for leaf in jax.tree.leaves(xs))
    params, carry, xs = jax.tree.map(lambda leaf: leaf.value, (params, carry, xs))

    def body(carry, xs):
        _, after, _, _ = _run(cell, params, carry, xs)
        carries = _stack(after)
        return after[-1], (carry, cell.readout(params, carries)) if remat else carries

    last, saved = jax.lax.scan(body, carry, xs)
    if remat:
        borders, ys = saved
        carries = None
    else:
        carries, ys = saved, cell.readout(params, saved)
        borders = jax.tree.map(
            lambda first, c: jnp.concatenate([first[None], c[:-1, -1]]), carry, carries
        )
    return (last, ys), (params, xs, borders, carries, () if wants_d_xs else None)


def _recall(cell, params, border, carries, xs):
    """What a chunk's backward pass needs of its forward pass: past, after, x_gates, h_gates."""
    if carries is None:
        before, after, x_gates, h_gates = _run(cell, params, border, xs)
        return _stack(before), _stack(after), x_gates, _stack(h_gates)
    past = jax.tree.map(lambda first, c: jnp.concatenate([first[None], c[:-1]]), border, carries)
    return past, carries, cell.project(params, xs), cell.mix(params, past)


def _backward(cell, remat, residuals, cotangents):
    params, xs, borders, carries, wants_d_xs = residuals
    d_carry, d_ys = jax.tree.map(
        lambda d: None if isinstance(d, SymbolicZero) else d,
        cotangents,
        is_leaf=lambda d: isinstance(d, SymbolicZero),
    )
    d_carry = jax.tree.map(
        lambda d, c: jnp.zeros_like(c[0]) if d is None else d,
        d_carry,
        borders,
        is_leaf=lambda d: d is None,
    )
    # Weights transposed once, as real copies: the loop's product then reads them in order.
    turned = jax.tree.map(lambda w: optimization_barrier(w.T).T if w.ndim == 2 else w, params)

    def body(state, chunk):
        d_carry, d_params = state
        xs, border, carries, d_ys = chunk
        past, after, x_gates, h_gates = _recall(cell, params, border, carries, xs)
        if d_ys is not None:
            d_readout, d_after = jax.vjp(cell.readout, params, after)[1](d_ys)
            d_params = _add(d_params, d_readout)
        d_x_gates, d_h_gates = [], []
        for k in reversed(range(len(jax.tree.leaves(past)[0]))):
            if d_ys is not None:
                d_carry = _add(d_carry, _at(d_after, k))
            _, pull = jax.vjp(cell.update, params, *_at((past, x_gates, h_gates), k))
            d_update, d_past, d_x, d_h = pull(d_carry)
            _, pull = jax.vjp(partial(cell.mix, turned), _at(past, k))
            d_carry = _add(d_past, pull(d_h)[0])
            d_params = _add(d_params, d_update)
            d_x_gates.insert(0, d_x)
            d_h_gates.insert(0, d_h)
        d_project, d_xs = jax.vjp(cell.project, params, xs)[1](_stack(d_x_gates))
        (d_mix,) = jax.vjp(lambda p: cell.mix(p, past), params)[1](_stack(d_h_gates))
        d_params = _add(_add(d_params, d_project), d_mix)
        return (d_carry, d_params), None if wants_d_xs is None else d_xs

    zeros = jax.tree.map(
        lambda p: jnp.zeros(p.shape, jnp.promote_types(p.dtype, jnp.float32)), params
    )
    (d_carry, d_params), d_xs = jax.lax.scan(
        body, (d_carry, zeros), (xs, borders, carries, d_ys), reverse=True
    )
    d_params = jax.tree.map(lambda d, p: d.astype(p.dtype), d_params, params)
    return d_params, d_carry, jax.tree.map(jnp.zeros_like, xs) if d_xs is None else d_xs


_scan.defvjp(_forward, _backward, symbolic_zeros=True)
