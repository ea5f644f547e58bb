"""Running a cell over time: `unroll`, and the scan driver that every other one must equal."""

import math
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.associative import associative
from rnn_jax.drivers.chunked import chunked
from rnn_jax.drivers.chunking import at, chunk_length, in_pieces
from rnn_jax.drivers.newton import check_converged, newton
from rnn_jax.drivers.scan import scan_steps
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Key, Params
from rnn_jax.wrappers.masking import hold

Driver = Literal["auto", "scan", "chunked", "associative", "newton"]


def unroll(
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
    tbptt_steps: int | None = None,
    driver: Driver = "auto",
    chunk: int | None = None,
    remat: bool = False,
) -> tuple[Carry, Float[Array, "T ... O"]]:
    """Run `cell` over the leading axis of xs.

    Args:
      cell: any `Cell`.
      params: what `cell.init` returned; bfloat16 weights multiply in bfloat16, the carry stays
        float32.
      xs: inputs [T, ..., D], time first; any batch dimensions, none included; T = 0 is fine.
      carry: the carry to start from, fields [..., H]; by default `cell.start(params, ...)`.
      lengths: the number of steps [...] of each sequence, 0 to T. Past its end a sequence keeps its
        carry and its outputs are zero. Under `jit` lengths cannot be checked: there, one above T
        counts as T and one below 0 as 0.
      mask: the same for any steps, [T, ...], true where a step counts. What xs holds elsewhere, NaN
        included, reaches neither values nor gradients.
      resets: [T, ...], true where an episode starts: the carry is `cell.start(params, ...)` before
        that step, whatever it was, and no gradient flows across. A step that does not count resets
        nothing.
      reverse: run from the last step to the first; ys stay in the order of xs. With lengths each
        sequence starts at its own end, and with resets each episode.
      key: what a cell draws its noise from, as dropout does; without, it draws none.
      tbptt_steps: cut the gradient every so many steps: truncated back-propagation through time.
      driver: how the scan is run; all give the same values. "scan" is `jax.lax.scan` over the
        cell's step; "chunked" is faster and takes any GatedCell, but no forward-mode derivatives;
        "associative" runs time in parallel and takes linear cells; "newton" does so for
        any cell but one that convolves, see `rnn_jax.drivers.newton`; "auto" is the choice of
        `pick_driver`.
      chunk: K, the steps that "chunked" takes at a time; by default `chunk_length`.
      remat: let "chunked" keep every K-th carry only and compute the others again going back.

    Returns:
      The final carry, fields [..., H], and the outputs ys [T, ..., O].

    Raises:
      InputError: a feature size, rank, dtype, carry, length, mask or driver that does not fit.
      RunError: "newton" did not converge; under `jit`, where this cannot be raised, its values are
        NaN.
    """
    options = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse, "key": key}
    run = prepare(cell, params, xs, carry, **options)
    steps = jax.tree.leaves(run.xs)[0].shape[0]
    driver = _check_driver(run.cell, cell, steps, driver, chunk, remat)
    how = {"driver": driver, "chunk": chunk, "remat": remat}
    try:
        given = run.cell, run.params, run.carry, run.xs
        if tbptt_steps is None:
            carry, ys, report = _drive(*given, **how)
        else:
            check_size("tbptt_steps", tbptt_steps)
            if not isinstance(steps, int):
                raise InputError(f"tbptt_steps needs a fixed number of steps, got {steps}.")
            window = min(tbptt_steps, max(steps, 1))
            carry, ys, report = _truncated(*given, run.masks, window=window, **how)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise InputError(
            f"the {driver} driver has no forward-mode derivatives (jvp, jacfwd, linearize); "
            "use driver='scan' for them."
        ) from error
    if report is not None:
        check_converged(report)
    return run.finish(carry, ys)


LONGEST_CHUNK = 32
"""The most steps that may be asked for as a chunk: compiling takes longer the more there are."""

SHORT = 64
"""Steps under which the scan driver is as fast: its scan has little to hand from step to step."""


def pick_driver(cell: Cell, steps: int) -> Driver:
    """The driver that "auto" stands for at T = `steps`: the one measured fastest on CPUs."""
    return "chunked" if isinstance(cell, GatedCell) and steps >= SHORT else "scan"


def check_driver(driver: object) -> None:
    """Raise InputError unless `driver` is one that `unroll` takes."""
    if driver not in get_args(Driver):
        raise InputError(f"driver must be one of {', '.join(get_args(Driver))}; got {driver!r}.")


def _check_driver(cell, given, steps, driver, chunk, remat):
    """The driver to use for `cell`, made of the one `given`, if it can do what was asked."""
    check_driver(driver)
    if driver == "auto" and not isinstance(steps, int):
        driver = "scan"  # A symbolic number of steps, in an exported program, has no chunks.
    if driver == "auto":
        driver = "chunked" if remat or chunk is not None else pick_driver(cell, steps)
    name = type(given).__name__
    if driver == "chunked" and not isinstance(cell, GatedCell):
        raise InputError(
            f"the chunked driver needs a GatedCell and {name} is none; use driver='scan'."
        )
    if driver == "associative" and not getattr(cell, "linear", False):
        why = "cannot start anew within a run" if getattr(given, "linear", False) else "is not"
        raise InputError(
            f"the associative driver needs a linear cell and {name} {why}; use driver='auto'."
        )
    if driver != "chunked" and (remat or chunk is not None):
        raise InputError(
            f"chunk and remat belong to the chunked driver; leave them out with {driver}."
        )
    if driver != "scan" and not isinstance(steps, int):
        raise InputError(
            f"the {driver} driver needs a fixed number of steps, got {steps}; use driver='scan'."
        )
    if chunk is not None:
        check_size("chunk", chunk)
        if min(chunk, steps) > LONGEST_CHUNK:
            raise InputError(
                f"chunk must be at most {LONGEST_CHUNK}, got {chunk}: the steps of a chunk are "
                "compiled one by one, and longer chunks are not faster."
            )
    return driver


def _drive(cell, params, carry, xs, *, driver, chunk, remat):
    """The final carry, the outputs and, from "newton" alone, a `NewtonReport`."""
    steps = jax.tree.leaves(xs)[0].shape[0]
    batch = math.prod(jax.tree.leaves(carry)[0].shape[:-1])
    batch = batch if isinstance(batch, int) else 1  # A symbolic size, in an exported program.
    if driver == "scan" or not steps or not batch:
        return *scan_steps(cell, params, carry, xs), None
    if driver == "associative":
        return *associative(cell, params, carry, xs), None
    if driver == "newton":
        return newton(cell, params, carry, xs)
    chunk = chunk or chunk_length(cell, steps, batch)
    return *chunked(cell, params, carry, xs, chunk, remat), None


@partial(jax.jit, static_argnames=("cell", "window", "driver", "chunk", "remat"))
def _truncated(cell, params, carry, xs, masks, *, window, **how):
    """Run windows of steps one after the other, without gradients from one into the one before.

    An episode that starts with a window belongs to it: its start keeps its gradient. The report is
    that of the first window that did not converge, or of the last window.
    """

    def step(state, inputs):
        (carry, report), (xs, fresh) = state, inputs
        carry = jax.lax.stop_gradient(carry)
        if fresh is not None:
            begin = jax.tree.leaves(carry.begin)[0]
            start = cell.start(params, begin.shape[:-1], begin.dtype)
            carry = carry._replace(begin=hold(fresh[0], start, carry.begin))
        carry, ys, new = _drive(cell, params, carry, xs, **how)
        return (carry, _first_failure(report, new)), ys

    fresh = None if masks is None else _fresh(*masks)
    carry, head, report = _drive(cell, params, carry, at(xs, slice(window)), **how)
    tail = at(xs, slice(window, None))
    if not jax.tree.leaves(tail)[0].shape[0]:
        return carry, head, report
    before = None if fresh is None else fresh[window - 1 : -1]
    # The report with itself, so that all of it varies over a mesh as in the carry of the scan.
    state = carry, _first_failure(report, report)
    (carry, report), ys = in_pieces(partial(jax.lax.scan, step), state, (tail, before), window)
    return carry, jnp.concatenate([head, ys]), report


def _first_failure(report, new):
    """The `NewtonReport` given unless it converged, else `new`; None for drivers without one."""
    return jax.tree.map(lambda old, new: jnp.where(report.converged, new, old), report, new)


def _fresh(ends, keep):
    """1 where the carry after a step is the untouched start of an episode, else 0: [T, ...]."""

    def step(fresh, masks):
        ends, keep = masks
        return (fresh := jnp.maximum(ends, fresh * (1 - keep))), fresh

    return jax.lax.scan(step, jnp.zeros_like(ends[0]), (ends, keep))[1]
