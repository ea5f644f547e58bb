"""The reference driver: `jax.lax.scan` over the step of a cell. Every other driver equals it."""

from functools import partial

import jax
import jax.numpy as jnp

from rnn_jax.cell import Cell
from rnn_jax.typing import Array, Carry, Float, Inputs, Params


@partial(jax.jit, static_argnames="cell")
def plain(
    cell: Cell, params: Params, carry: Carry, xs: Inputs
) -> tuple[Carry, Float[Array, "T ... O"]]:
    """Run `cell.step` over time; every transformation of JAX works on it."""
    step, steps = partial(cell.step, params), jax.tree.leaves(xs)[0].shape[0]
    if isinstance(steps, int) and not steps:
        # Without compilation, JAX refuses to scan over nothing.
        first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
        _, y = jax.eval_shape(step, carry, first)
        return carry, jnp.zeros((0, *y.shape), y.dtype)
    return jax.lax.scan(step, carry, xs)
