"""A random problem for any cell, ways to run it, and a Python loop as the reference."""

import contextlib
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.drivers.associative import Associative
from rnn_jax.drivers.chunked import Chunked
from rnn_jax.drivers.fused import Fused
from rnn_jax.drivers.newton import Newton
from rnn_jax.drivers.parallel_backward import ParallelBackward
from rnn_jax.drivers.scan import Scan
from rnn_jax.drivers.unroll import unroll
from rnn_jax.numerics import named
from rnn_jax.typing import Array, Carry, Params

T, B, D = 7, 4, 2

DRIVERS = {
    "auto": "auto",
    "scan": Scan(),
    "chunked": Chunked(length=2),
    "remat": Chunked(length=2, remat=True),
    "associative": Associative(),
    "newton": Newton(),
    "quasi-newton": Newton(jacobian="diagonal"),
    "damped-newton": Newton(damping=0.3),
    "parallel_backward": ParallelBackward(),
    "fused": Fused(),
}
"""Drivers by name; add a new driver here and in `drivers_for`."""


def drivers_for(cell: Cell) -> tuple[str, ...]:
    """Names of the drivers that support `cell`, the reference first."""
    if not isinstance(cell, GatedCell):
        return ("scan",)
    return ("scan", "chunked", "remat", *(["associative"] if cell.linear else []))


def places(cell: Cell) -> tuple[int, ...]:
    """Sizes of the spatial axes of a cell; empty for most cells."""
    return tuple(range(2, 2 + cell.spatial_axes))


class Problem(NamedTuple):
    """Arguments of a run, and cotangents of its results (carry, ys)."""

    params: Params
    xs: Array
    carry: Carry
    cotangents: tuple


def problem(cell, steps=T, batch=(B,), features=D, dtype=np.float64, seed=0):
    """Random arguments and cotangents."""
    rng, batch = np.random.default_rng(seed), (*batch, *places(cell))

    def like(tree, scale=1.0):
        def normal(leaf):
            return jnp.asarray(scale * rng.normal(size=leaf.shape), dtype)

        return jax.tree.map(normal, tree)

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), features))
    # Small enough that neither values nor gradients explode within a few steps, at any width.
    params = like(params, scale=1 / max(2, cell.hidden_size**0.5))
    xs = like(np.empty((steps, *batch, features)))
    carry = jax.eval_shape(lambda: cell.initial_carry(batch))
    ys = np.empty((steps, *batch, cell.output_size))
    return Problem(params, xs, like(carry), like((carry, ys)))


def fetched(function):
    """The function with results as NumPy arrays, so that using them triggers no compilation."""
    return lambda *args, **options: jax.device_get(function(*args, **options))


compiled = partial(jax.jit, static_argnames=("cell", "driver", "reverse", "tbptt_steps"))


@fetched
@compiled
def run(cell, params, xs, carry=None, *, driver="auto", **options):
    """Compiled `unroll` with the named driver: the final carry and the outputs."""
    return unroll(cell, params, xs, carry, driver=DRIVERS[driver], **options)


def pull_back(f, cotangents, *arguments):
    """Values of f and the pullback of the cotangents."""
    values, vjp = jax.vjp(f, *arguments)
    return values, vjp(cotangents)


@fetched
@compiled
def run_back(cell, params, xs, carry, cotangents, *, driver="auto", **options):
    """The values of `run`, and its gradients wrt params, xs and carry."""
    unrolled = partial(unroll, cell, driver=DRIVERS[driver], **options)
    return pull_back(unrolled, cotangents, params, xs, carry)


@fetched
@partial(jax.jit, static_argnums=0)
def _step(cell, params, carry, x):
    return cell.step(params, carry, x)


@fetched
@partial(jax.jit, static_argnums=0)
def _step_back(cell, params, carry, x, cotangents):
    return pull_back(cell.step, cotangents, params, carry, x)


def loop(cell, params, xs, carry):
    """`run` as a Python loop over `cell.step`."""
    width = cell.output_size
    ys = np.zeros((*xs.shape[:-1], width), xs.dtype)
    for t, x in enumerate(np.asarray(xs)):
        carry, ys[t] = _step(cell, params, carry, x)
    return carry, ys


def loop_back(cell, params, xs, carry, cotangents):
    """`run_back` as a Python loop: backpropagation through time, one step at a time."""
    params, xs, carry, (d_carry, d_ys) = jax.device_get((params, xs, carry, cotangents))
    carries, ys = [carry], np.zeros_like(d_ys)
    for t, x in enumerate(xs):
        carry, ys[t] = _step(cell, params, carry, x)
        carries.append(carry)
    d_params, d_xs = jax.tree.map(np.zeros_like, params), np.zeros_like(xs)
    for t in reversed(range(len(xs))):
        _, d_in = _step_back(cell, params, carries[t], xs[t], (d_carry, d_ys[t]))
        d_step, d_carry, d_xs[t] = d_in
        d_params = jax.tree.map(np.add, d_params, d_step)
    return (carry, ys), (d_params, d_xs, d_carry)


def inner(a, b):
    """The inner product of two trees."""
    return sum(jax.tree.leaves(jax.tree.map(np.vdot, a, b)))


def ensure(holds, message):
    """Raise AssertionError with a message unless `holds`, also under `python -O`."""
    if not holds:
        raise AssertionError(message)


def assert_close(got, want, tolerance=1e-12):
    """Assert equal tree structures and leaves within `tolerance`, absolute and relative."""
    _assert_all(partial(np.allclose, rtol=tolerance, atol=tolerance, equal_nan=True), got, want)


def assert_same(got, want):
    """Assert equal trees, bit for bit."""

    def same(a, b):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype != object)

    _assert_all(same, got, want)


def _assert_all(agree, got, want):
    """Raise AssertionError with the leaves that differ most, unless all agree."""
    got_tree, want_tree = jax.tree.structure(got), jax.tree.structure(want)
    ensure(got_tree == want_tree, f"got the tree {got_tree}, expected {want_tree}")
    wrong = []
    for (name, a), b in zip(named(got).items(), jax.tree.leaves(want), strict=True):
        a, b, name = np.asarray(a), np.asarray(b), name or "the result"
        if a.shape != b.shape:
            wrong.append((np.inf, f"{name} has shape {a.shape}, expected {b.shape}"))
        elif not agree(a, b):
            off = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0)
            what = f"off by up to {off:.2g}" if off else f"{a.dtype}, expected {b.dtype}"
            wrong.append((np.nan_to_num(off, nan=np.inf), f"{name} is {what}"))
    worst = [words for _, words in sorted(wrong, key=lambda found: -found[0])]
    more = f"; {len(worst) - 2} more" if len(worst) > 2 else ""
    ensure(not wrong, "; ".join(worst[:2]) + more)


@contextlib.contextmanager
def compilations():
    """Context manager for a list that grows by one with each XLA compilation."""
    seen = []

    def listen(event: str, duration_secs: float, **_details: str | int):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
