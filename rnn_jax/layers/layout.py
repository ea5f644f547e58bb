"""Conversion between batch-major sequences [..., T, D] and time-major ones [T, ..., D]."""

import jax.numpy as jnp
from numpy.typing import ArrayLike

from rnn_jax.drivers.arguments import as_sequence
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Bool, Float


def to_time_major(
    xs: ArrayLike,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    *,
    spatial_axes: int = 0,
) -> tuple[Float[Array, "T ... D"], Bool[Array, "T ..."] | None, Bool[Array, "T ..."] | None]:
    """Move the time axis of batch-major inputs to the front.

    Args:
      xs: inputs [..., T, D], or [..., T, *space, D] for a cell with spatial axes.
      mask, resets: [..., T].
      spatial_axes: the number of axes between T and D.

    Raises:
      InputError: xs has too few axes, or mask or resets are not of shape [..., T].
    """
    xs = as_sequence(xs)
    if xs.ndim < 2 + spatial_axes:
        space = "*space, " if spatial_axes else ""
        raise InputError(f"xs must be [..., T, {space}D] with time_major=False, got {xs.shape}.")
    shape = xs.shape[: xs.ndim - 1 - spatial_axes]
    mask = _mask_to_time_major("mask", mask, shape)
    resets = _mask_to_time_major("resets", resets, shape)
    return jnp.moveaxis(xs, len(shape) - 1, 0), mask, resets


def to_batch_major(
    ys: Float[Array, "T ... O"], *, spatial_axes: int = 0
) -> Float[Array, "... T O"]:
    """Move the time axis of outputs behind the batch axes, the inverse of `to_time_major`."""
    return jnp.moveaxis(ys, 0, ys.ndim - 2 - spatial_axes)


def _mask_to_time_major(name, mask, shape):
    if mask is None:
        return None
    if jnp.shape(mask) != shape:
        raise InputError(
            f"{name} must have shape {shape} with time_major=False, as [..., T] of xs; got shape "
            f"{jnp.shape(mask)}."
        )
    return jnp.moveaxis(jnp.asarray(mask), -1, 0)
