"""`unroll`, the one function that runs a cell over time, and the choice of its driver."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.associative import Associative
from rnn_jax.drivers.base import Driver
from rnn_jax.drivers.chunked import Chunked
from rnn_jax.drivers.chunking import at, batch_size, in_pieces
from rnn_jax.drivers.cudnn import CuDNN
from rnn_jax.drivers.fused import Fused
from rnn_jax.drivers.newton import Newton
from rnn_jax.drivers.parallel_backward import ParallelBackward
from rnn_jax.drivers.scan import Scan
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Key, Params
from rnn_jax.wrappers.masking import hold

DriverName = Literal[
    "auto", "scan", "chunked", "associative", "newton", "parallel_backward", "fused", "cudnn"
]
DriverLike = DriverName | Driver

_DRIVERS = Scan(), Chunked(), Associative(), Newton(), ParallelBackward(), Fused(), CuDNN()
DRIVERS = {driver.name: driver for driver in _DRIVERS}
"""Drivers by name, with their default options."""

SHORT = 64
"""Below this number of steps, the chunked driver is no faster than a scan on CPUs."""
WIDE = 64
"""From this batch size on, a scan is faster than chunks for a cell with a single gate."""


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
    driver: DriverLike = "auto",
) -> tuple[Carry, Float[Array, "T ... O"]]:
    """Run a cell over the leading axis of xs.

    Args:
      cell: any `Cell`.
      params: the parameters, from `cell.init`. With bfloat16 weights, matrix products are in
        bfloat16; the carry stays float32.
      xs: inputs [T, ..., D], time first, with any number of batch dimensions. T may be 0.
      carry: the carry to start from, fields [..., H]; by default `cell.start(params, ...)`.
      lengths: the number of steps [...] of each sequence, 0 to T. Past its end, a sequence keeps
        its carry and its outputs are zero. Under `jit`, lengths are not checked: values above T
        count as T, values below 0 as 0.
      mask: true for each valid step, [T, ...], as an alternative to `lengths`. The values of xs at
        other steps, including NaN, affect neither results nor gradients.
      resets: true for each step that starts an episode, [T, ...]. The carry before that step is
        `cell.start(params, ...)`, and no gradient flows across. A reset at an invalid step has
        no effect.
      reverse: run from the last step to the first; ys stay in the order of xs. With lengths, each
        sequence starts at its own end; with resets, each episode does.
      key: a random key for the noise of cells such as `dropout`; without one, there is no noise.
      tbptt_steps: truncate backpropagation through time: stop the gradient between windows of this
        many steps.
      driver: the algorithm, by name or as an object with options. All produce the same values.
        "scan", `Scan()`: `jax.lax.scan`, for any cell and all JAX transformations.
        "chunked", `Chunked(length, remat)`: faster, for any GatedCell.
        "associative", `Associative()`: parallel over time, for linear cells.
        "newton", `Newton(max_iterations, jacobian, damping)`: parallel over time, for cells without
        spatial axes.
        "parallel_backward", `ParallelBackward()`: the backward pass parallel over time, for cells
        without spatial axes.
        "fused", `Fused(platform)`: one kernel on a GPU or TPU, for any GatedCell.
        "cudnn", `CuDNN()`: cuDNN's kernel on an NVIDIA GPU, for an LSTMCell without masks.
        "auto": the choice of `pick_driver`.

    Returns:
      The final carry, fields [..., H], and the outputs ys [T, ..., O].

    Raises:
      InputError: a feature size, rank, dtype, carry, length, mask or driver that does not fit.
      RunError: "newton" did not converge. Under `jit`, which cannot raise, the values are NaN.
    """
    run = prepare(
        cell,
        params,
        xs,
        carry,
        lengths=lengths,
        mask=mask,
        resets=resets,
        reverse=reverse,
        key=key,
    )
    steps = jax.tree.leaves(run.xs)[0].shape[0]
    driver = _resolve(driver, run.cell, steps, batch_size(run.carry))
    driver.check(run.cell, steps)
    try:
        given = run.cell, run.params, run.carry, run.xs
        if tbptt_steps is None:
            carry, ys, report = _run(driver, *given)
        else:
            check_size("tbptt_steps", tbptt_steps)
            if not isinstance(steps, int):
                raise InputError(f"tbptt_steps needs a fixed number of steps, got {steps}.")
            window = min(tbptt_steps, max(steps, 1))
            carry, ys, report = _truncated(driver, window, *given, run.masks)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise InputError(
            f"the {driver.name} driver has no forward-mode derivatives (jvp, jacfwd, linearize); "
            "use driver='scan' for them."
        ) from error
    if report is not None:
        report.check()
    return run.finish(carry, ys)


def pick_driver(cell: Cell, steps: int, batch: int = 1) -> DriverLike:
    """The driver for "auto": the fastest one in benchmarks on CPUs.

    On other devices, which have not been benchmarked, it is the scan.

    Args:
      cell: any `Cell`.
      steps: T, the number of time steps.
      batch: the number of sequences on a device. Under `vmap`, `unroll` sees a single one.
    """
    if jax.default_backend() != "cpu" or not isinstance(cell, GatedCell) or steps < SHORT:
        return "scan"
    return "scan" if len(cell.gates) == 1 and batch >= WIDE else "chunked"


def check_driver(driver: object) -> None:
    """Raise InputError unless `unroll` accepts `driver`."""
    known = isinstance(driver, str) and driver in ("auto", *DRIVERS)
    if not known and not isinstance(driver, Driver):
        names = ", ".join(("auto", *DRIVERS))
        raise InputError(
            f"driver must be one of {names}, or a driver object such as Chunked(length=8); "
            f"got {driver!r}."
        )


def _resolve(driver, cell, steps, batch):
    """The driver object for the argument `driver` of `unroll`."""
    check_driver(driver)
    if driver == "auto":
        # A symbolic number of steps, in an exported program, cannot be chunked.
        driver = pick_driver(cell, steps, batch) if isinstance(steps, int) else "scan"
    return DRIVERS[driver] if isinstance(driver, str) else driver


def _run(driver, cell, params, carry, xs):
    """`driver.run`, or the reference if there are no steps or no examples."""
    sizes = jax.tree.leaves(xs)[0].shape[0], *jax.tree.leaves(carry)[0].shape[:-1]
    if any(isinstance(size, int) and not size for size in sizes):
        driver = Scan()
    return driver.run(cell, params, carry, xs)


@partial(jax.jit, static_argnames=("driver", "window", "cell"))
def _truncated(driver, window, cell, params, carry, xs, masks):
    """Run windows of steps sequentially, without gradients across their boundaries.

    An episode that starts with a window belongs to it: its initial carry keeps its gradient. The
    report is that of the first window that did not converge, or of the last window.
    """

    def step(state, inputs):
        (carry, report), (xs, fresh) = state, inputs
        carry = jax.lax.stop_gradient(carry)
        if fresh is not None:
            begin = jax.tree.leaves(carry.begin)[0]
            start = cell.start(params, begin.shape[:-1], begin.dtype)
            carry = carry._replace(begin=hold(fresh[0], start, carry.begin))
        carry, ys, new = _run(driver, cell, params, carry, xs)
        return (carry, _first_failure(report, new)), ys

    fresh = None if masks is None else _fresh(*masks)
    carry, head, report = _run(driver, cell, params, carry, at(xs, slice(window)))
    tail = at(xs, slice(window, None))
    if not jax.tree.leaves(tail)[0].shape[0]:
        return carry, head, report
    before = None if fresh is None else fresh[window - 1 : -1]
    # Joined with itself, the report varies over a mesh as in the carry of the scan.
    state = carry, _first_failure(report, report)
    (carry, report), ys = in_pieces(partial(jax.lax.scan, step), state, (tail, before), window)
    return carry, jnp.concatenate([head, ys]), report


def _first_failure(report, new):
    """`new` if `report` converged, otherwise `report`; None for drivers without reports."""
    return jax.tree.map(lambda old, new: jnp.where(report.converged, new, old), report, new)


def _fresh(ends, keep):
    """1 if the carry after a step is the unchanged start of an episode, otherwise 0: [T, ...]."""

    def step(fresh, masks):
        ends, keep = masks
        return (fresh := jnp.maximum(ends, fresh * (1 - keep))), fresh

    return jax.lax.scan(step, jnp.zeros_like(ends[0]), (ends, keep))[1]
