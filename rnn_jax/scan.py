"""Running a cell over time: `unroll`, and the plain driver that every other one must equal."""

from functools import partial, reduce
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from rnn_jax.cell import Cell, GatedCell
from rnn_jax.chunked import chunked
from rnn_jax.chunks import chunk_length
from rnn_jax.errors import InputError, check_size
from rnn_jax.masking import keep_mask, masked, select
from rnn_jax.typing import Array, Carry, Float, Inputs, Int, Params

Driver = Literal["auto", "plain", "chunked"]


def unroll(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    lengths: Int[Array, "..."] | None = None,
    driver: Driver = "auto",
    chunk: int | None = None,
    remat: bool = False,
) -> tuple[Carry, Float[Array, "T ... H"]]:
    """Run `cell` over the leading axis of xs.

    Args:
      cell: any `Cell`.
      params: what `cell.init` returned; bfloat16 weights multiply in bfloat16, the carry stays
        float32.
      xs: inputs [T, ..., D], time first; any batch dimensions, none included; T = 0 is fine.
      carry: the carry to start from, fields [..., H]; by default `cell.initial_carry`.
      lengths: the number of steps [...] of each sequence, 0 to T. Past its end a sequence keeps its
        carry and its outputs are zero. Under `jit` lengths cannot be checked: there, one above T
        counts as T and one below 0 as 0.
      driver: how the scan is run; all give the same values. "plain" is `jax.lax.scan` over the
        cell's step; "chunked" is faster and takes any GatedCell, but no forward-mode derivatives;
        "auto" is what `pick_driver` says.
      chunk: K, the steps that "chunked" takes at a time; by default `chunk_length`.
      remat: let "chunked" keep every K-th carry only and compute the others again going back.

    Returns:
      The final carry, fields [..., H], and the outputs ys [T, ..., H].

    Raises:
      InputError: a feature size, rank, dtype, carry, length or driver that does not fit.
    """
    cell, xs, carry, keep = prepare(cell, params, xs, carry, lengths)
    steps = len(jax.tree.leaves(xs)[0])
    driver = _check_driver(cell, steps, driver, chunk, remat)
    batch = jax.tree.leaves(carry)[0].size // cell.hidden_size
    if driver == "plain" or not steps or not batch:
        carry, ys = plain(cell, params, carry, xs)
    else:
        chunk = chunk or chunk_length(cell, steps, batch)
        carry, ys = chunked(cell, params, carry, xs, chunk, remat)
    return carry, ys if keep is None else select(keep, ys, 0)


SHORT = 64
"""Steps under which the plain driver is as fast: its scan has little to hand from step to step."""


def pick_driver(cell: Cell, steps: int) -> Driver:
    """The driver that "auto" stands for at T = `steps`: the one measured fastest on CPUs."""
    return "chunked" if isinstance(cell, GatedCell) and steps >= SHORT else "plain"


def _check_driver(cell, steps, driver, chunk, remat):
    """The driver to use, once it is clear that it can do what was asked."""
    if driver not in get_args(Driver):
        raise InputError(f"driver must be one of {', '.join(get_args(Driver))}; got {driver!r}.")
    if driver == "auto":
        driver = "chunked" if remat or chunk is not None else pick_driver(cell, steps)
    if driver == "chunked" and not isinstance(cell, GatedCell):
        raise InputError(
            f"the chunked driver needs a GatedCell and {type(cell).__name__} is none; "
            "use driver='plain'."
        )
    if driver == "plain" and (remat or chunk is not None):
        raise InputError("chunk and remat belong to the chunked driver; leave them out with plain.")
    if chunk is not None:
        check_size("chunk", chunk)
    return driver


@partial(jax.jit, static_argnames="cell")
def plain(
    cell: Cell, params: Params, carry: Carry, xs: Inputs
) -> tuple[Carry, Float[Array, "T ... H"]]:
    """The reference driver, `jax.lax.scan` over `cell.step`; every transformation works on it."""
    return jax.lax.scan(partial(cell.step, params), carry, xs)


def gate_activations(
    cell: GatedCell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    lengths: Int[Array, "..."] | None = None,
) -> dict[str, Float[Array, "T ... H"]]:
    """The value of each gate of `cell` at each step, by name, as `unroll` would run it.

    Raises:
      InputError: as `unroll`; a cell that has no gates or does not tell their values.
    """
    if not isinstance(cell, GatedCell):
        raise InputError(f"{type(cell).__name__} is not a GatedCell: it has no gates to watch.")
    names = cell.gates
    cell, xs, carry, _ = prepare(cell, params, xs, carry, lengths)

    def step(carry, x):
        x_gates, h_gates = cell.project(params, x), cell.mix(params, carry)
        values = cell.activations(x_gates, h_gates)
        return cell.update(params, carry, x_gates, h_gates), values

    _, values = jax.lax.scan(step, carry, xs)
    return dict(zip(names, values, strict=True))


def as_sequence(xs: ArrayLike, input_size: int | None) -> Float[Array, "T ... D"]:
    """xs as a JAX array; InputError unless it is a floating-point [T, ..., D], D = `input_size`."""
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
            f"xs has {xs.shape[-1]} features, the cell was made for {input_size}; "
            f"give xs [T, ..., {input_size}] or make the cell with input_size={xs.shape[-1]}."
        )
    return jnp.asarray(xs)


def prepare(cell, params, xs, carry=None, lengths=None):
    """The arguments of `unroll` checked, the carry filled in, the cell masked if there are lengths.

    Returns cell, xs, carry, and the mask [T, ...] or None.
    """
    xs = as_sequence(xs, cell.input_size(params))
    steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    carry = _starting_carry(cell, params, xs, carry, batch_shape)
    if lengths is None:
        return cell, xs, carry, None
    _check_lengths(lengths, steps, batch_shape)
    keep = keep_mask(jnp.asarray(lengths), steps)
    return masked(cell), (xs, keep), carry, keep


def _starting_carry(cell, params, xs, carry, batch_shape):
    """The carry to start from, in the widest dtype among float32 and all that is given."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves((params, xs, carry))]
    dtype = reduce(jnp.promote_types, (leaf.dtype for leaf in leaves), jnp.float32)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"params and carry must be real numbers, got some of {dtype.name}.")
    if carry is None:
        # Empty sums are zero, and vary over a mesh as what is summed: so must a scan's carry.
        zero = sum(leaf.ravel()[:0].sum(dtype=dtype) for leaf in leaves)
        return jax.tree.map(lambda c: c + zero, cell.initial_carry(batch_shape, dtype))
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
        if jnp.shape(got) != want.shape:
            raise InputError(
                f"carry{jax.tree_util.keystr(path)} must have shape {want.shape} for xs of shape "
                f"{xs.shape}, got {jnp.shape(got)}."
            )
    return jax.tree.map(lambda got, want: jnp.asarray(got, want.dtype), carry, expected)


def _check_lengths(lengths, steps, batch_shape):
    if not isinstance(lengths, jax.core.Tracer):
        lengths = np.asarray(lengths)  # Concrete also under jit, where JAX's own functions trace.
    if lengths.shape != batch_shape or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise InputError(
            f"lengths must be whole numbers of shape {batch_shape}, "
            f"got {lengths.dtype} of shape {lengths.shape}."
        )
    if isinstance(lengths, np.ndarray) and ((lengths < 0) | (lengths > steps)).any():
        raise InputError(
            f"lengths must lie in 0 to T = {steps}, got {lengths.min()} to {lengths.max()}."
        )
