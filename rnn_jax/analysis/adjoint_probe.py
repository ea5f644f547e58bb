"""The chunked driver with a probe: the size of every ∂L/∂carry_t, out of training's own pass.

The probe is an input of zeros whose "gradient" is defined to be the log norms that pass by it. The
adjoint travels as floats and one power of two for each example, so that no norm underflows or
overflows; `gradient_flow.adjoint_norms` is the reference.
"""

import math
from functools import partial, reduce

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.lax import optimization_barrier

from rnn_jax.analysis.extended_range import power_of_two
from rnn_jax.cells.base import GatedCell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers import chunked
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.chunking import (
    add,
    at,
    chunk_length,
    in_pieces,
    materialized,
    narrowed,
    stack,
    wide_zeros,
)
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Carry, Float, Params

_ZERO = -(2**30)
"""The exponent of zeros: below every other, and far from where int32 ends."""


def zero_probe(
    cell: GatedCell, steps: int, batch_shape: tuple[int, ...] = (), dtype=jnp.float32
) -> Carry:
    """The probe for `steps` time steps: zeros [T, *batch_shape] for each field of the carry."""
    require_cell("unroll_probed", cell, has_params=True)
    check_size("steps", steps, 0)
    carry = jax.eval_shape(lambda: cell.initial_carry())
    return jax.tree.map(lambda _: jnp.zeros((steps, *batch_shape), dtype), carry)


def unroll_probed(
    cell: GatedCell,
    params: Params,
    xs: Float[Array, "T ... D"],
    probe: Carry,
    carry: Carry | None = None,
) -> tuple[Carry, Float[Array, "T ... H"]]:
    """`unroll` whose gradient by `probe`, from `zero_probe`, is log10 ‖∂L/∂carry_t‖, t = 1 to T.

    carry_t is the carry after step t; the derivative is total, each field of the carry and each
    example apart, as in `gradient_flow.adjoint_norms`. The other gradients are those of `unroll`.

    Raises:
      InputError: as `unroll`; a cell that is no GatedCell; a probe of other shapes.
    """
    require_cell("unroll_probed", cell, has_params=True)
    if not isinstance(cell, GatedCell):
        raise InputError(
            f"the probe needs a GatedCell and {type(cell).__name__} is none; "
            "use gradient_flow.adjoint_norms."
        )
    run = prepare(cell, params, xs, carry)
    cell, params, xs, carry = run.cell, run.params, run.xs, run.carry
    steps, batch = len(xs), xs.shape[1:-1]
    wanted = jax.tree.map(lambda _: (steps, *batch), carry)
    if _shapes(probe) != wanted:
        raise InputError(
            f"probe must be zero_probe(cell, {steps}, {batch}): a {type(carry).__name__} with an "
            f"array {[steps, *batch]} in each field."
        )
    if not steps:
        y = jax.eval_shape(cell.readout, params, carry)
        return carry, jnp.zeros((0, *y.shape), y.dtype)
    chunk = chunk_length(cell, steps, math.prod(batch))
    return _run(cell, chunk, params, carry, (xs, probe))


def _shapes(tree):
    return jax.tree.map(jnp.shape, tree)


@partial(jax.jit, static_argnums=(0, 1))
def _run(cell, chunk, params, carry, xs_and_probe):
    return in_pieces(partial(_scan, cell, params), carry, xs_and_probe, chunk)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(cell, params, carry, xs_and_probe):
    xs, _ = xs_and_probe
    return chunked.scan_chunks(cell, False, params, carry, xs)


def _forward(cell, params, carry, xs_and_probe):
    return chunked.forward(cell, False, params, carry, xs_and_probe[0])


def _backward(cell, residuals, cotangents):
    params, xs, borders, carries, wants_d_xs = residuals
    d_carry, d_ys = cotangents
    d_carry = materialized(d_carry, at(borders, 0))
    d_ys = None if isinstance(d_ys, SymbolicZero) else d_ys
    turned = chunked.turn(params)

    def body(state, chunk):
        d_carry, exponent, d_params = state
        xs, border, carries, d_ys = chunk
        past, after, *gates = chunked.recall_chunk(cell, params, border, carries, xs)
        if d_ys is not None:
            d_readout, d_after = jax.vjp(cell.readout, params, after)[1](d_ys)
            d_params = add(d_params, d_readout)
        d_x_gates, d_h_gates, norms = [], [], []
        for k in reversed(range(len(jax.tree.leaves(after)[0]))):
            if d_ys is not None:
                d_carry, exponent = _join((d_carry, exponent), _rebase(at(d_after, k)))
            d_carry, exponent = optimization_barrier(_rebase(d_carry, exponent))
            norms.insert(0, _log10_norms(d_carry, exponent))
            pull = chunked.pull_step(cell, params, turned, *at((past, *gates), k))
            d_update, *_ = pull(_shift(d_carry, exponent))
            _, d_carry, *d_gates = pull(d_carry)
            d_x, d_h = _shift(d_gates, exponent)
            d_params = add(d_params, d_update)
            d_x_gates.insert(0, d_x)
            d_h_gates.insert(0, d_h)
        d_chunk, d_xs = chunked.pull_chunk(cell, params, past, xs, d_x_gates, d_h_gates)
        d_xs = None if wants_d_xs is None else d_xs
        return (d_carry, exponent, add(d_params, d_chunk)), (d_xs, stack(norms))

    # A selection that never selects: zeros that vary over a mesh as the gradient does.
    exponent = jnp.where(True, 0, d_carry[0][..., 0]).astype(jnp.int32)
    state = d_carry, exponent, wide_zeros(params)
    (d_carry, exponent, d_params), (d_xs, norms) = jax.lax.scan(
        body, state, (xs, borders, carries, d_ys), reverse=True
    )
    d_xs = jax.tree.map(jnp.zeros_like, xs) if d_xs is None else d_xs
    return narrowed(d_params, params), _shift(d_carry, exponent), (d_xs, norms)


_scan.defvjp(_forward, _backward, symbolic_zeros=True)


def _shift(tree, exponent):
    """Every leaf [..., N] times 2**exponent [...]."""
    return jax.tree.map(lambda x: x * power_of_two(exponent, x.dtype)[..., None], tree)


def _rebase(tree, exponent=0):
    """The same vectors with their largest entry, over all leaves, between 1/2 and 1 in size."""
    largest = reduce(jnp.maximum, (jnp.abs(x).max(-1) for x in jax.tree.leaves(tree)))
    _, shift = jnp.frexp(largest)
    return _shift(tree, -shift), jnp.where(largest > 0, exponent + shift, _ZERO)


def _join(a, b):
    """The sum of two rebased vectors, at the larger exponent of the two."""
    exponent = jnp.maximum(a[1], b[1])
    return add(*(_shift(tree, own - exponent) for tree, own in (a, b))), exponent


def _log10_norms(tree, exponent):
    def norm(x):
        return 0.5 * jnp.log10((x * x).sum(-1)) + math.log10(2) * exponent.astype(x.dtype)

    return jax.tree.map(norm, tree)
