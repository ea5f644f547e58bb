"""Long-term Jacobians of any cell: the effect of the carry at step t on the final carry."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells.array_ops import join_fields
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_vectors
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.auto_axes import compiled, scan
from rnn_jax.errors import check_size
from rnn_jax.typing import Array, Carry, Float, Int, Params


class LongTermJacobians(NamedTuple):
    """log10 singular values of ∂carry_T/∂carry_t, at S steps t for each example.

    Attributes:
      steps: [S], the steps t in ascending order; the last is T, where the Jacobian is the identity.
      largest, smallest: [S, ...], the extreme singular values.
      condition: [S, ...], log10 of largest / smallest.
    """

    steps: Int[np.ndarray, " S"]
    largest: Float[Array, "S ..."]
    smallest: Float[Array, "S ..."]
    condition: Float[Array, "S ..."]


def long_term_jacobians(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    every: int = 1,
) -> LongTermJacobians:
    """Extreme singular values of ∂carry_T/∂carry_t, with the fields of a carry concatenated.

        M_T = I      M_t-1 = M_t J_t      J_t = ∂carry_t/∂carry_t-1

    The product is stored as M = S D Q with Q orthonormal, D diagonal and stored as a logarithm, and
    S well conditioned. Both extremes are therefore accurate at any T, even if they are far apart.
    A direction that a single step shrinks by more than a factor eps relative to its largest one
    is treated as shrunk by eps, since rounding hides the exact factor.

    Args:
      cell: any `Cell`.
      params: the parameters, from `cell.init`.
      xs: inputs [T, ..., D], time first. For a carry of size n, memory grows with n² and time with
        n³.
      carry: the carry to start from; by default `cell.start(params, ...)`.
      every: the interval in steps between reports, counted back from T.

    Raises:
      InputError: as in `unroll`; `every` is not a positive integer.
    Reference: Bai, Lee, Li, Xu (2011), "Stable solutions of linear systems involving long chain of
    matrix multiplications" (the graded product, there from left to right and for inverses).
    """
    check_size("every", every)
    run = prepare(cell, params, xs, carry)
    cell, params, xs, start = run.cell, run.params, run.xs, run.carry
    require_vectors("long_term_jacobians", cell, "; use gradient_flow.adjoint_norms")
    every = int(every)
    largest, smallest = _extremes_over_time(cell, every, params, start, xs)
    steps = np.arange(len(xs) % every, len(xs) + 1, every)
    return LongTermJacobians(steps, largest, smallest, largest - smallest)


@compiled(static=2)
def _extremes_over_time(cell, every, params, start, xs):
    """The largest and the smallest singular values [S, ...], as log10."""
    with jax.default_matmul_precision("highest"):
        fields, structure = jax.tree.flatten(start)
        ends = np.cumsum([field.shape[-1] for field in fields])
        batch, first = xs.shape[1:-1], len(xs) % every

        def forward(carry, x):
            return cell.step(params, carry, x)[0], carry

        def back(state, inputs):
            carry, x = inputs
            rows, logs, left = state
            _, pull = jax.vjp(lambda c: cell.step(params, c, x)[0], carry)

            def pulled(row):
                (change,) = pull(jax.tree.unflatten(structure, jnp.split(row, ends[:-1], axis=-1)))
                return join_fields(change)

            moved = jax.vmap(pulled, in_axes=-2, out_axes=-2)(rows)
            return _regraded(moved, logs, left), None

        def report(state, inputs):
            state, _ = scan(back, state, inputs, reverse=True)
            return state, _extremes(state)

        eye = jnp.broadcast_to(
            jnp.eye(ends[-1], dtype=fields[0].dtype), (*batch, ends[-1], ends[-1])
        )
        end = eye, jnp.zeros(eye.shape[:-1], eye.dtype), eye
        start, _ = scan(forward, start, xs[:first])
        _, carries = scan(forward, start, xs[first:])
        spans = jax.tree.map(
            lambda a: a.reshape(len(a) // every, every, *a.shape[1:]), (carries, xs[first:])
        )
        _, extremes = scan(report, end, spans, reverse=True)
        return tuple(jnp.append(e, jnp.zeros((1, *batch), e.dtype), 0) for e in extremes)


def _regraded(rows, logs, left):
    """Rewrite the product left diag(exp logs) rows so that its rows are orthonormal.

    The largest rows come first, so that no ratio of scales in the new left factor is large.
    """
    sizes = logs + jnp.log(jnp.linalg.norm(rows, axis=-1))
    order = jnp.argsort(-sizes, axis=-1)
    rows = jnp.take_along_axis(rows, order[..., None], axis=-2)
    logs = jnp.take_along_axis(logs, order, axis=-1)
    left = jnp.take_along_axis(left, order[..., None, :], axis=-1)
    q, r = jnp.linalg.qr(rows.mT)
    diagonal = jnp.diagonal(r, axis1=-2, axis2=-1)
    info = jnp.finfo(r.dtype)
    least = info.eps * jnp.max(jnp.abs(diagonal), axis=-1, keepdims=True) + info.tiny
    diagonal = jnp.where(jnp.abs(diagonal) < least, least, diagonal)
    scales = jnp.tril(jnp.exp(jnp.tril(logs[..., :, None] - logs[..., None, :])))
    eye = jnp.broadcast_to(jnp.eye(r.shape[-1], dtype=r.dtype), r.shape)
    factor = jnp.tril(r.mT, -1) / diagonal[..., None, :] * scales + eye
    rows = q.mT * jnp.sign(diagonal)[..., None]
    return rows, logs + jnp.log(jnp.abs(diagonal)), left @ factor


def _extremes(state):
    """log10 of the extreme singular values of left diag(exp logs) rows, the largest first."""
    _, logs, left = state
    high, low = jnp.max(logs, axis=-1, keepdims=True), jnp.min(logs, axis=-1, keepdims=True)
    largest = jnp.linalg.norm(left * jnp.exp(logs - high)[..., None, :], 2, axis=(-2, -1))
    inverse = jnp.linalg.inv(left) * jnp.exp(low - logs)[..., :, None]
    smallest = -jnp.log(jnp.linalg.norm(inverse, 2, axis=(-2, -1)))
    return tuple(
        (size + edge[..., 0]) / math.log(10)
        for size, edge in ((jnp.log(largest), high), (smallest, low))
    )
