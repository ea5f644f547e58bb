"""Check the arguments of `unroll` and prepare them for a driver."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import ArrayLike

from rnn_jax.cells.array_ops import explicitly_sharded, widest
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import check_params, require_cell
from rnn_jax.cells.gate_params import check_key
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Bool, Carry, Float, Inputs, Int, Key, Params
from rnn_jax.wrappers.masking import EpisodeCarry, episodic, hold, keep_mask, masked, select


class Prepared(NamedTuple):
    """Arguments of a driver, with masks, resets and noise built into the cell.

    Attributes:
      cell, params, carry, xs: the arguments of `Driver.run`.
      masks: two arrays [T, ...] in the order in which steps run, or None without resets. The first
        is 1 at the last step of each episode, the second at each valid step; otherwise they are 0.
      finish: a function that maps the results of the driver, `(carry, ys)`, to those of `unroll`.
    """

    cell: Cell
    params: Params
    xs: Inputs
    carry: Carry
    masks: tuple[Float[Array, "T ..."], Float[Array, "T ..."]] | None
    finish: Callable


def prepare(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    lengths: Int[Array, "..."] | None = None,
    mask: Bool[Array, "T ..."] | None = None,
    resets: Bool[Array, "T ..."] | None = None,
    reverse: bool = False,
    key: Key[Array, ""] | None = None,
) -> Prepared:
    """Check the arguments of `unroll`, fill in the carry, and wrap the cell with masks and noise.

    Raises:
      InputError: as in `unroll`.
    """
    require_cell("unroll", cell, has_params=True)
    xs = as_sequence(xs)
    check_params(cell, params, xs.shape[-1])
    if (size := cell.input_size(params)) not in (None, xs.shape[-1]):
        raise InputError(
            f"xs has {xs.shape[-1]} features, but the cell was made for {size}; "
            f"give xs [T, ..., {size}] or make the cell with input_size={xs.shape[-1]}."
        )
    places = xs.ndim - 1 - cell.spatial_axes
    if places < 1:
        raise InputError(
            f"xs for {type(cell).__name__} must have {cell.spatial_axes} spatial axes before the "
            f"features, got shape {xs.shape}."
        )
    shape = xs.shape[:places]
    carry = _starting_carry(cell, params, xs, carry)
    keep = _keep(lengths, mask, shape)
    ends = None if resets is None else as_mask("resets", resets, shape)
    if ends is not None and keep is not None:
        ends = ends * keep
    if ends is not None and not reverse:
        if not isinstance(shape[0], int) or shape[0]:
            start = cell.start(params, xs.shape[1:-1], jax.tree.leaves(carry)[0].dtype)
            carry = hold(_spread(ends[0], cell), start, carry)
        ends = jnp.concatenate([ends[1:], jnp.zeros_like(ends[:1])])
    if keep is not None:  # Padding values, including NaN, must not reach the gradients.
        xs = select(_spread(keep, cell), xs, 0)
    if key is not None:
        check_key(key)
    cell, params, xs = cell.sampled(params, xs, key)
    keep, ends = (None if mask is None else _spread(mask, cell) for mask in (keep, ends))
    if ends is not None:
        ends, carry = ends[..., None], EpisodeCarry(carry, carry)
    # The order matters: in the forward direction, the step that ends an episode may be invalid. In
    # reverse it is always valid, and invalid steps may follow it.
    around = ((masked, keep), (episodic, ends))
    for wrap, values in reversed(around) if reverse else around:
        if values is not None:
            cell, xs = wrap(cell), cast(Any, (xs, values))
    if reverse:
        xs = _flip(xs)
    masks = None
    if ends is not None:
        masks = ends[..., 0], jnp.ones_like(ends[..., 0]) if keep is None else keep
        masks = _flip(masks) if reverse else masks
    return Prepared(cell, params, xs, carry, masks, partial(_finish, keep, reverse))


def _finish(keep, reverse, carry, ys):
    if isinstance(carry, EpisodeCarry):
        carry = carry.left
    ys = _flip(ys) if reverse else ys
    return carry, ys if keep is None else select(keep, ys, 0)


def _flip(tree):
    return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree)


def _spread(mask, cell):
    """Append the spatial axes of the cell to a mask [..., B]: [..., B, 1, 1] for two axes."""
    return mask.reshape(*mask.shape, *(1,) * cell.spatial_axes)


def as_sequence(xs: ArrayLike, input_size: int | None = None) -> Float[Array, "T ... D"]:
    """xs as a JAX array; InputError unless it is floating point [T, ..., D] with D = input_size."""
    if not isinstance(xs, jax.Array):
        xs = np.asarray(xs)
    if xs.ndim < 2:
        raise InputError(
            f"xs must be [T, ..., D] with at least 2 dimensions, got shape {xs.shape}; "
            "add a time axis in front, e.g. xs[None]."
        )
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        raise InputError(
            f"xs must be floating point, got {xs.dtype}; convert it, e.g. "
            "images.astype('float32') / 255 for pixels."
        )
    if input_size not in (None, xs.shape[-1]):
        raise InputError(
            f"xs has {xs.shape[-1]} features, but the cell was made for {input_size}; "
            f"give xs [T, ..., {input_size}] or make the cell with input_size={xs.shape[-1]}."
        )
    return xs if isinstance(xs, jax.Array) else jnp.asarray(xs)


def _starting_carry(cell, params, xs, carry):
    """The carry to start from, in the widest dtype among float32 and all arguments."""
    batch_shape = xs.shape[1:-1]
    leaves = jax.tree.leaves((params, xs, carry))
    # Converting an array is an operation that `jax_debug_nans` checks: convert only non-arrays.
    leaves = [leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf) for leaf in leaves]
    dtype = widest(jnp.float32, *(leaf.dtype for leaf in leaves))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"params and carry must be real numbers, got some of {dtype.name}.")
    if carry is None:
        return _varying(cell.start(params, batch_shape, dtype), xs, leaves)
    expected = jax.eval_shape(lambda: cell.initial_carry(batch_shape, dtype))
    if jax.tree.structure(carry) != jax.tree.structure(expected):
        wanted, got = type(expected).__name__, type(carry).__name__
        raise InputError(
            f"carry must be a {wanted} with an array in each field, got "
            f"{'one with other contents' if got == wanted else f'a {got}'}; "
            "start from cell.initial_carry(batch_shape)."
        )
    for (path, want), got in zip(
        jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(carry), strict=True
    ):
        if np.shape(got) != want.shape:
            raise InputError(
                f"carry{jax.tree_util.keystr(path)} must have shape {want.shape} for xs of shape "
                f"{xs.shape}, got {np.shape(got)}."
            )
    carry = jax.tree.map(lambda got, want: jnp.asarray(got, want.dtype), carry, expected)
    return _varying(carry, xs, leaves)


def _varying(carry, xs, leaves):
    """The same carry, but sharded and varying over a mesh like the carry after a step.

    A scan requires this of its carry. It is ensured by adding zeros selected from all arguments.
    """
    if jax.sharding.get_abstract_mesh().empty and not any(map(explicitly_sharded, leaves)):
        return carry
    dtype = jax.tree.leaves(carry)[0].dtype

    def zeros(x):
        return jnp.where(True, jnp.zeros((), dtype), x.astype(dtype))

    zero = zeros(xs[..., 0]).sum(0)[..., None]
    zero = zero + sum((zeros(leaf).sum() for leaf in leaves), jnp.zeros((), dtype))
    return jax.tree.map(lambda c: c + zero, carry)


def _keep(lengths, mask, shape):
    """1 for each valid step, otherwise 0: [T, ...], or None if all steps are valid."""
    if mask is not None and lengths is not None:
        raise InputError("got both lengths and mask, which exclude each other; give one of them.")
    if mask is not None:
        return as_mask("mask", mask, shape)
    if lengths is None:
        return None
    _check_lengths(lengths, shape[0], shape[1:])
    return keep_mask(jnp.asarray(lengths), shape[0])


def cleared(xs: Float[Array, "T ..."], lengths, mask) -> Float[Array, "T ..."]:
    """xs with zeros at invalid steps, as in the outputs of `unroll`."""
    counts = lengths if mask is None else mask
    if counts is None:
        return xs
    keep = _keep(lengths, mask, xs.shape[: np.ndim(counts) + (mask is None)])
    assert keep is not None
    return select(keep.reshape(*keep.shape, *(1,) * (xs.ndim - 1 - keep.ndim)), xs, 0)


def as_mask(name: str, mask: ArrayLike, shape: tuple) -> Float[Array, "T ..."]:
    """A boolean mask as floats; InputError unless it is boolean with this shape."""
    mask = mask if isinstance(mask, jax.Array) else np.asarray(mask)
    if mask.shape != shape or mask.dtype != bool:
        raise InputError(
            f"{name} must be boolean of shape {shape}, one value for each step, "
            f"got {mask.dtype} of shape {mask.shape}."
        )
    return jnp.asarray(mask, jnp.float32)


def _check_lengths(lengths, steps, batch_shape):
    if not isinstance(lengths, Tracer):
        lengths = np.asarray(lengths)  # Concrete even under jit, where jnp.asarray would trace.
    if lengths.shape != batch_shape or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise InputError(
            f"lengths must be integers of shape {batch_shape}, "
            f"got {lengths.dtype} of shape {lengths.shape}."
        )
    if isinstance(lengths, np.ndarray) and ((lengths < 0) | (lengths > steps)).any():
        raise InputError(
            f"lengths must lie in 0 to T = {steps}, got {lengths.min()} to {lengths.max()}."
        )
