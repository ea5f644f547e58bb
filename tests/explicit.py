"""Explicit Jacobians of each step, the reference for Lyapunov exponents."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


@partial(jax.jit, static_argnums=0)
def _jacobians(cell, params, xs, carry):
    fields, structure = jax.tree.flatten(carry)
    ends = np.cumsum([field.shape[-1] for field in fields])[:-1]

    def advance(flat, x):
        carry = structure.unflatten(jnp.split(flat, ends, axis=-1))
        return jnp.concatenate(jax.tree.leaves(cell.step(params, carry, x)[0]), axis=-1)

    def one(flat, x):
        return advance(flat, x), jax.vmap(jax.jacfwd(advance))(flat, x)

    return jax.lax.scan(one, jnp.concatenate(fields, axis=-1), xs)[1]


def jacobians(cell, params, xs, carry):
    """∂carry_t/∂carry_t-1 at each t, [T, B, n, n], as NumPy."""
    return np.array(_jacobians(cell, params, xs, carry))
