"""Norms that do not overflow, gradient clipping, and a search for values that are not finite."""

import numbers
import traceback
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Bool, Float, Params


def named(tree: Params) -> dict[str, Any]:
    """The leaves of a pytree by their path: `rnn.params.w_h`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves)
    return {
        name.removesuffix(".value"): leaf for name, (_, leaf) in zip(names, leaves, strict=True)
    }


def all_finite(tree: Params) -> Bool[Array, ""]:
    """Return whether all floating-point numbers of a pytree, real or complex, are finite."""
    finite = [jnp.isfinite(x).all() for x in _numbers(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array(finite, bool))


def _numbers(tree):
    """The numeric leaves of a pytree: no booleans, random keys or `float0`."""
    leaves = (x if hasattr(x, "dtype") else jnp.asarray(x) for x in jax.tree.leaves(tree))
    return [x for x in leaves if jnp.issubdtype(x.dtype, jnp.number)]


def _unit_and_norm(tree):
    """The largest magnitude m in a pytree, or 1, and the norm of the tree divided by m.

    Computed in float32 or wider; a complex number counts as two real ones.
    """
    leaves = []
    for x in map(jnp.asarray, _numbers(tree)):
        is_complex = jnp.issubdtype(x.dtype, jnp.complexfloating)
        leaves += [x.real, x.imag] if is_complex else [x]
    floats = (x.dtype for x in leaves if jnp.issubdtype(x.dtype, jnp.floating))
    # NumPy promotes dtypes even where JAX is set to strict promotion.
    dtype = reduce(np.promote_types, floats, np.dtype(np.float32))
    leaves = [x.astype(dtype) for x in leaves]
    # A maximum may miss NaN and so may `unit`; the sum of the squares does not.
    largest = jnp.array([jnp.abs(x).max(initial=0) for x in leaves], dtype).max(initial=0)
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    squares = (jnp.square(x / unit).sum() for x in leaves)
    return unit, jnp.sqrt(sum(squares, jnp.zeros((), dtype)))


def global_norm(tree: Params) -> Float[Array, ""]:
    """Euclidean norm of all numbers of a pytree, without overflow or underflow of the squares.

    It is 0 for a pytree without numbers, and NaN or infinite if a number is not finite.
    """
    unit, norm = _unit_and_norm(tree)
    return unit * norm


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformation:
    """Clip gradients to a global norm of at most `max_norm`.

    Unlike `optax.clip_by_global_norm` it does not overflow: a gradient of norm 1e25 is scaled, not
    set to zero. An infinite gradient has no direction and becomes NaN; training skips such a step.

    Raises:
      InputError: `max_norm` is negative or NaN.
    """
    if isinstance(max_norm, numbers.Real) and not max_norm >= 0:
        raise InputError(f"max_norm must be 0 or a positive number, got {max_norm!r}.")

    def update(updates, state, params=None):
        del params
        unit, norm = _unit_and_norm(updates)
        above = unit * norm > max_norm

        def clip(g):
            if not _numbers(g):
                return g
            g = jnp.asarray(g)
            kept = g.dtype if jnp.issubdtype(g.dtype, jnp.inexact) else norm.dtype
            wide = np.promote_types(kept, norm.dtype)
            g = g.astype(wide)
            clipped = g / unit.astype(wide) * (max_norm / norm).astype(wide)
            return jnp.where(above, clipped, g).astype(kept)

        return jax.tree.map(clip, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def first_bad_leaf(tree: Params) -> str | None:
    """Path of the first leaf of a pytree that is not finite, or None."""
    return next((name for name, leaf in named(tree).items() if not all_finite([leaf])), None)


def first_bad_primitive(function: Callable, *args: object) -> str | None:
    """The first primitive of `function(*args)` whose result is not finite, and its line, or None.

    Runs one primitive at a time, without compilation. It is slow and meant for debugging.
    """
    with jax.disable_jit(), jax.debug_nans(True), jax.debug_infs(True):
        try:
            function(*args)
        except FloatingPointError as error:
            frames = [
                f for f in traceback.extract_tb(error.__traceback__) if "rnn_jax" in f.filename
            ]
            where = f", {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
            return str(error).partition("\n")[0].rstrip(".") + where
    return None
