"""Lyapunov exponents with gradients, for gradient flossing, on a fixed schedule of QR steps."""

from functools import partial

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import Cell
from rnn_jax.drivers.auto_axes import compiled
from rnn_jax.typing import Array, Carry, Float, Params


@compiled(static=3)
def fixed_schedule_spectrum(
    cell: Cell,
    push,
    options: tuple[int, int],
    params: Params,
    carry: Carry,
    xs: Float[Array, "T N D"],
    rows: Float[Array, "N K n"],
) -> Float[Array, "N K"]:
    """Sums of the log growth of K directions after the burn-in, in their QR order.

    Blocks of `qr_every` steps are recomputed in the backward pass, so that memory holds the rows
    [N, K, n] once for each block.

    Args:
      cell: any `Cell`.
      push: one step, `(cell, params, carry, rows, x) -> (carry, rows J)`.
      options: `burn_in` and `qr_every` of `lyapunov_spectrum`.
      params, carry, xs: those of a run, with one batch axis.
      rows: orthonormal directions.
    """
    burn_in, qr_every = options
    growth = partial(_block, cell, push, params)

    def over(state, xs):
        """Blocks of `qr_every` steps, then the remaining steps as one block."""
        whole = len(xs) // qr_every * qr_every
        blocks = xs[:whole].reshape(-1, qr_every, *xs.shape[1:])
        state, logs = jax.lax.scan(growth, state, blocks)
        total = logs.sum(0)
        if whole < len(xs):
            state, rest = growth(state, xs[whole:])
            total += rest
        return state, total

    state, _ = over((carry, rows), xs[:burn_in])
    return over(state, xs[burn_in:])[1]


def _block(cell, push, params, state, xs):
    """Advance the carry and the rows over some steps, and orthonormalize the rows again."""

    @jax.checkpoint
    def run(params, state, xs):
        (carry, rows), _ = jax.lax.scan(
            lambda state, x: (push(cell, params, *state, x), None), state, xs
        )
        q, r = jnp.linalg.qr(jnp.swapaxes(rows, -1, -2))
        logs = jnp.log(jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1)))
        return (carry, jnp.swapaxes(q, -1, -2)), logs

    return run(params, state, xs)
