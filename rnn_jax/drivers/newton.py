"""Time in parallel for any cell: all carries at once, by Newton's iteration over the sequence.

Each round linearizes every step around the last guess and solves the linear recurrence that comes
out by an associative scan. A round costs T matrices [n, n] for each example, n the numbers in a
carry: this is for small states and long sequences on a parallel device.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import expand
from rnn_jax.cells.base import Cell
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.chunking import at
from rnn_jax.drivers.scan import scan_steps
from rnn_jax.errors import InputError, RunError, check_size
from rnn_jax.typing import Array, Bool, Carry, Float, Inputs, Int, Params


class NewtonReport(NamedTuple):
    """Outcome of the iteration.

    A small residual alone proves little: a recurrence that stretches small changes turns it into a
    large error at later steps. The error is therefore estimated by what the linearized recurrence
    makes of the residual, which is the correction of the round, and of rounding errors of one
    unit in the last place at every step.

    Attributes:
      residual: the largest |step(carry_t-1, x_t) - carry_t| / (1 + |carry_t|) over all numbers in
        all carries, before the last correction; NaN where one of them is not finite.
      error: the largest estimated error of a carry over 1 + |carry_t|; NaN likewise.
      iterations: rounds taken.
      converged: whether the estimated error of every number is at most eps^(2/3).
    """

    residual: Float[Array, ""]
    error: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


def unroll_newton(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    max_iterations: int = 100,
    **options,
) -> tuple[Carry, Float[Array, "T ... O"], NewtonReport]:
    """`unroll` by Newton's iteration, and how that went.

    Where it did not converge, all values after the first step are NaN. The gradient is that of the
    solution, by one more linear recurrence, not of the iteration.
    `options` are those of `unroll` but for how it is run: lengths, mask, resets, reverse, key.

    Raises:
      InputError: as `unroll`; `max_iterations` that is not a positive whole number.
    Reference: Lim, Zhu, Selfridge, Kasim (2024), "Parallelizing non-linear sequential models over
    the sequence length".
    """
    check_size("max_iterations", max_iterations)
    run = prepare(cell, params, xs, carry, **options)
    if len(xs):
        carry, ys, report = newton(run.cell, run.params, run.carry, run.xs, max_iterations)
    else:
        carry, ys = scan_steps(run.cell, run.params, run.carry, run.xs)
        zero = jnp.zeros(())
        report = NewtonReport(zero, zero, jnp.zeros((), jnp.int32), jnp.array(True))
    return *run.finish(carry, ys), report


@partial(jax.jit, static_argnames=("cell", "max_iterations"))
def newton(
    cell: Cell, params: Params, carry: Carry, xs: Inputs, max_iterations: int = 100
) -> tuple[Carry, Float[Array, "T ... O"], NewtonReport]:
    """The driver: final carry, outputs and report for T > 0.

    Raises:
      InputError: a cell whose steps mix places, as convolutions do.
    """
    if cell.spatial_axes:
        raise InputError(
            "the newton driver needs a cell without spatial axes: a convolution joins all places "
            "of a picture; use driver='auto'."
        )
    states, report = _solve(cell, max_iterations, params, carry, xs)
    past = jax.tree.map(lambda c, s: jnp.concatenate([c[None], s[:-1]]), carry, states)
    carries, ys = jax.vmap(partial(cell.step, params))(past, xs)
    return at(carries, -1), ys, report


def check_converged(report: NewtonReport) -> None:
    """Raise RunError unless the iteration converged; inside `jit` its values are NaN instead."""
    if not isinstance(report.converged, jax.core.Tracer) and not report.converged:
        raise RunError(
            f"the newton driver did not converge: after {int(report.iterations)} iterations its "
            f"residual is {float(report.residual):.2g} and the estimated error of the carries "
            f"{float(report.error):.2g}; use driver='scan' for this cell."
        )


def _join(carry):
    return jnp.concatenate(jax.tree.leaves(carry), axis=-1)


def _part(flat, like):
    leaves, structure = jax.tree.flatten(like)
    widths = [leaf.shape[-1] for leaf in leaves]
    ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
    return structure.unflatten(jnp.split(flat, ends, axis=-1))


def _steps(cell, params, carry, past, xs):
    """Every carry from the one before it, flat [T, ..., n], and the Jacobians [T, ..., n, n]."""

    def after(flat, x):
        return _join(cell.step(params, _part(flat, carry), x)[0])

    def linearized(flat, x):
        value, push = jax.linearize(lambda f: after(f, x), flat)
        rows = jnp.eye(flat.shape[-1], dtype=flat.dtype)
        # An empty sum is a zero for each example, sharded over a mesh as the carry is.
        zeros = flat[..., :0].sum(-1, keepdims=True)
        turned = jax.vmap(lambda row: push(expand(row, zeros) + zeros), out_axes=-2)(rows)
        return value, turned

    return jax.vmap(linearized)(past, xs)


def _linear_scan(a, b, reverse=False):
    """s_t = s_t-1 a_t + b_t for rows b [T, ..., K, n] and matrices a [T, ..., n, n]."""

    def join(early, late):
        return early[0] @ late[0], early[1] @ late[0] + late[1]

    return jax.lax.associative_scan(join, (a, b), reverse=reverse)[1]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _solve(cell, max_iterations, params, carry, xs):
    start = _join(carry)
    steps = len(jax.tree.leaves(xs)[0])
    eps = float(jnp.finfo(start.dtype).eps)
    tolerance = eps ** (2 / 3)
    signs = jax.random.rademacher(jax.random.key(0), (steps, *start.shape), start.dtype)

    def round_(state):
        states, *_, count = state
        past = jnp.concatenate([start[None], states[:-1]])
        value, a = _steps(cell, params, carry, past, xs)
        off, unit = value - states, 1 + jnp.abs(states)
        moved = _linear_scan(a, jnp.stack([off, eps * unit * signs], axis=-2))
        correction, rounding = moved[..., 0, :], moved[..., 1, :]
        error = (jnp.abs(correction) + jnp.abs(rounding)) / unit
        return states + correction, off / unit, error, count + 1

    def goes_on(state):
        _, _, error, count = state
        within = jnp.all(error <= tolerance)  # False for NaN, which `jnp.max` may drop.
        diverged = (count > 0) & ~jnp.isfinite(error).all()
        return ~within & ~diverged & (count < max_iterations)

    guess = jnp.broadcast_to(start, (steps, *start.shape))
    unknown = jnp.full_like(guess, jnp.inf)
    first = guess, unknown, unknown, jnp.zeros((), jnp.int32)
    states, off, error, count = jax.lax.while_loop(goes_on, round_, first)
    converged = jnp.all(error <= tolerance) & jnp.isfinite(states).all()
    states = jnp.where(converged, states, jnp.nan)
    return _part(states, carry), NewtonReport(_largest(off), _largest(error), count, converged)


def _largest(x):
    """The largest absolute value, or NaN unless all are finite: XLA's maximum may drop NaN."""
    return jnp.where(jnp.isfinite(x).all(), jnp.max(jnp.abs(x), initial=0), jnp.nan)


def _forward(cell, max_iterations, params, carry, xs):
    states, report = _solve(cell, max_iterations, params, carry, xs)
    return (states, report), (params, carry, xs, states)


def _backward(cell, max_iterations, residuals, cotangents):
    """The adjoint is a linear recurrence backwards: g_t = d_t + g_t+1 a_t+1 transposed."""
    params, carry, xs, states = residuals
    d_states, _ = cotangents
    past = jnp.concatenate([_join(carry)[None], _join(states)[:-1]])
    _, a = _steps(cell, params, carry, past, xs)
    after = jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])
    d_states = _join(d_states)[..., None, :]
    g = _linear_scan(jnp.swapaxes(after, -1, -2), d_states, reverse=True)[..., 0, :]

    def forward(params, past, xs):
        step = partial(cell.step, params)
        return jax.vmap(lambda c, x: _join(step(_part(c, carry), x)[0]))(past, xs)

    d_params, d_past, d_xs = jax.vjp(forward, params, past, xs)[1](g)
    return d_params, _part(d_past[0], carry), d_xs


_solve.defvjp(_forward, _backward)
