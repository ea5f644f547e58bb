"""Numbers that stay sane: norms that cannot overflow, clipping, where the first bad one arose."""

import traceback
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rnn_jax.typing import Array, Bool, Float, Params


def named(tree: Params) -> dict[str, Any]:
    """The leaves of a pytree by their path: `rnn.params.w_h`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves)
    return {
        name.removesuffix(".value"): leaf for name, (_, leaf) in zip(names, leaves, strict=True)
    }


def all_finite(tree: Params) -> Bool[Array, ""]:
    """Whether every floating-point number in a pytree is finite."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.array([jnp.isfinite(x).all() for x in floats]))


def _unit_and_norm(tree):
    """The largest number m of a pytree in size, or 1, and the norm of the tree over m."""
    leaves = [x.ravel() for x in jax.tree.leaves(tree)]
    largest = jnp.max(jnp.array([jnp.abs(x).max(initial=0) for x in leaves]))
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return unit, jnp.sqrt(sum(jnp.square(x / unit).sum() for x in leaves))


def global_norm(tree: Params) -> Float[Array, ""]:
    """The Euclidean norm of all numbers of a pytree; no square overflows or vanishes on the way."""
    unit, norm = _unit_and_norm(tree)
    return unit * norm


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformation:
    """Scale a gradient whose global norm is above `max_norm` down to it, also one of 1e25.

    `optax.clip_by_global_norm` squares 1e25 to infinity and returns zeros. An infinity has no
    direction: it becomes NaN, for which training skips the step.
    """

    def update(updates, state, params=None):
        del params
        unit, norm = _unit_and_norm(updates)

        def clip(g):
            return jnp.where(unit * norm > max_norm, g / unit * (max_norm / norm), g)

        return jax.tree.map(clip, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def first_bad_leaf(tree: Params) -> str | None:
    """The path of the first leaf of a pytree with a number that is not finite."""
    return next((name for name, leaf in named(tree).items() if not all_finite([leaf])), None)


def first_bad_primitive(function: Callable, *args: object) -> str | None:
    """The first primitive of `function(*args)` whose result is not finite, and the line it is on.

    Everything runs one primitive at a time, loops and compiled functions too: slow, for debugging.
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
