"""Compile functions for arrays on a mesh with explicit axes."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec


def compiled(static: int) -> Callable[[Callable], Callable]:
    """A decorator like `jax.jit`, with the first `static` arguments static.

    The other arguments are pytrees of arrays. Inside the function, explicit axes of their mesh are
    automatic, and the results are replicated over them.
    """

    def decorate(function):
        @partial(jax.jit, static_argnums=tuple(range(static)))
        @wraps(function)
        def call(*arguments):
            options, arrays = arguments[:static], arguments[static:]
            run = partial(function, *options)
            mesh = explicit_mesh(arrays)
            if mesh is None:
                return run(*arrays)
            kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
            axes = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
            with jax.sharding.use_abstract_mesh(mesh):
                run = jax.sharding.auto_axes(run, axes=axes, out_sharding=PartitionSpec())
                return run(*arrays)

        return call

    return decorate


def scan(body: Callable, carry: Any, xs: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """`jax.lax.scan` that supports zero steps under `jax.disable_jit`, which JAX does not."""
    disabled = jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]
    if disabled and not len(jax.tree.leaves(xs)[0]):
        with jax.disable_jit(False):
            return jax.lax.scan(body, carry, xs, reverse=reverse)
    return jax.lax.scan(body, carry, xs, reverse=reverse)


def explicit_mesh(arrays: Any) -> jax.sharding.AbstractMesh | None:
    """The mesh with explicit axes of the first array that has one, or None."""
    for leaf in jax.tree.leaves(arrays):
        mesh = jax.typeof(leaf).sharding.mesh
        if AxisType.Explicit in mesh.axis_types:
            return mesh
    return None
