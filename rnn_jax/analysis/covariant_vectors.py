"""Covariant Lyapunov vectors: the directions that grow with each exponent, at every step."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.analysis.lyapunov import check_range, push_rows, random_rows
from rnn_jax.cells.array_ops import join_fields
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_vectors
from rnn_jax.drivers.arguments import prepare
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float, Params


class CovariantVectors(NamedTuple):
    """Covariant Lyapunov vectors of one trajectory.

    Attributes:
      vectors: unit rows v_t [S, K, n], the direction of the largest exponent first. Row k at step t
        maps to row k at step t + 1: v_t,k J_t+1 is parallel to v_t+1,k.
      exponents: [K], in nats per step, over the same S steps.
    """

    vectors: Float[Array, "S K n"]
    exponents: Float[Array, " K"]

    def angles(self) -> Float[Array, "S K K"]:
        """The angles between the vectors at each step, in radians, from 0 to π/2."""
        cosines = jnp.abs(self.vectors @ jnp.swapaxes(self.vectors, -1, -2))
        return jnp.arccos(jnp.clip(cosines, 0, 1))


def covariant_vectors(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    carry: Carry | None = None,
    *,
    count: int | None = None,
    burn_in: int = 100,
) -> CovariantVectors:
    """Covariant Lyapunov vectors of any cell along one sequence.

    Unlike the orthonormal rows of a QR iteration, they do not depend on a norm: each direction is
    mapped to itself. Angles near 0 between a growing and a shrinking direction indicate a tangency.

    Args:
      cell: any `Cell` without spatial axes.
      params: the parameters, from `cell.init`.
      xs: inputs [T, D] of one sequence.
      carry: the carry to start from, fields [H]; by default `cell.start(params)`.
      count: K, the number of leading vectors; by default all n.
      burn_in: the number of steps at each end that are used to converge and yield no vectors, so
        that S = T - 2 burn_in.

    Raises:
      InputError: as in `lyapunov_spectrum`; xs with a batch axis.
    Reference: Ginelli, Poggi, Turchi, Chate, Livi, Politi (2007), "Characterizing dynamics with
    covariant Lyapunov vectors".
    """
    if jnp.ndim(xs) != 2:
        raise InputError(f"covariant_vectors needs one sequence xs [T, D], got {jnp.shape(xs)}.")
    run = prepare(cell, params, xs, carry)
    require_vectors("covariant_vectors", cell)
    start = jax.tree.map(lambda field: field[None], run.carry)
    size = join_fields(start).shape[-1]
    count = size if count is None else count
    check_range("count", count, 1, size)
    check_range("burn_in", burn_in, 0, (len(xs) - 1) // 2)
    rows = random_rows(start, count)
    vectors, logs = _vectors(run.cell, int(burn_in), run.params, start, rows, run.xs)
    return CovariantVectors(vectors, logs.mean(0))


@partial(jax.jit, static_argnums=(0, 1))
def _vectors(cell, burn_in, params, carry, rows, xs):
    def forward(state, x):
        carry, rows = push_rows(cell, params, state[0], state[1], x[None])
        q, r = jnp.linalg.qr(jnp.swapaxes(rows, -1, -2))
        rows = jnp.swapaxes(q, -1, -2)
        return (carry, rows), (rows[0], r[0])

    with jax.default_matmul_precision("highest"):
        _, (bases, triangles) = jax.lax.scan(forward, (carry, rows), xs)
        # In the basis of step t, the vectors are the columns of an upper triangular matrix c_t, and
        # c_t+1 is parallel to r_t+1 c_t: backward in time, any such matrix converges to it.
        triangles = triangles[burn_in:]

        def backward(c, r):
            earlier = jax.scipy.linalg.solve_triangular(r, c)
            return earlier / jnp.linalg.norm(earlier, axis=0), c

        last = jnp.triu(jnp.ones(triangles.shape[1:], rows.dtype))
        last /= jnp.linalg.norm(last, axis=0)
        _, coordinates = jax.lax.scan(backward, last, triangles, reverse=True)
    kept = slice(0, len(xs) - 2 * burn_in)
    vectors = jnp.swapaxes(coordinates[kept], -1, -2) @ bases[burn_in:][kept]
    logs = jnp.log(jnp.abs(jnp.diagonal(triangles[kept], axis1=-2, axis2=-1)))
    return vectors, logs
