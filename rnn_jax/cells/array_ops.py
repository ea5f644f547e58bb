"""Array operations for cells: matrix products and explicit broadcasts.

They also work with strict `jax_numpy_rank_promotion` or `jax_numpy_dtype_promotion`.
"""

from functools import reduce

import jax
import jax.numpy as jnp

from rnn_jax.typing import Array, Carry, Float, Shaped


def dot(x: Float[Array, "... N"], w: Float[Array, "N M"]) -> Float[Array, "... M"]:
    """`x @ w`, multiplied in the dtype of the weights and accumulated in float32 or wider.

    With bfloat16 weights, the product is in bfloat16; gates and carry stay float32.
    """
    wide = widest(w.dtype, jnp.float32)
    rows, columns = x.astype(w.dtype), w.shape[1]
    if x.ndim != 2 and not explicitly_sharded(x):
        # With more leading axes, XLA computes the gradient of w at half speed. Explicitly sharded
        # axes cannot be merged.
        rows = rows.reshape(-1, w.shape[0])
    if w.shape[0] == 1:
        # XLA's CPU compiler turns a product over one feature into a multiplication and fuses it
        # into the gates, whose loop then does not vectorize. With two features it stays a product.
        rows = jnp.pad(rows, ((0, 0),) * (rows.ndim - 1) + ((0, 1),))
        w = jnp.pad(w, ((0, 1), (0, 0)))
    product = jnp.matmul(rows, w, preferred_element_type=wide)
    product = product.astype(widest(wide, x.dtype))
    return product if rows.ndim == x.ndim else product.reshape(*x.shape[:-1], columns)


def widest(*dtypes) -> jnp.dtype:
    """The dtype that all of `dtypes` promote to, even under strict dtype promotion."""
    with jax.numpy_dtype_promotion("standard"):
        return reduce(jnp.promote_types, dtypes)


def expand(vector: Shaped[Array, "*N"], like: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """Add leading axes of size 1 to `vector` so that it has as many axes as `like`."""
    missing = tuple(range(like.ndim - vector.ndim))
    return jnp.expand_dims(vector, missing) if missing else vector


def explicitly_sharded(x: Shaped[Array, "..."]) -> bool:
    """Return whether `x` is sharded over an explicit mesh axis."""
    return any(axis is not None for axis in jax.typeof(x).sharding.spec)


def join_fields(carry: Carry) -> Array:
    """Concatenate all fields of a carry along the last axis."""
    return jnp.concatenate(jax.tree.leaves(carry), axis=-1)
