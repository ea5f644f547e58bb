"""The newton driver: any cell in parallel over time, by Newton's iteration over the sequence.

Each iteration linearizes every step around the last guess and solves the linear recurrence by an
associative scan. It needs T matrices [n, n] for each example, where n is the size of the carry.
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from rnn_jax.cells.array_ops import expand, join_fields
from rnn_jax.cells.base import Cell
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.base import Driver, given_cell
from rnn_jax.drivers.chunking import at
from rnn_jax.drivers.scan import scan_steps
from rnn_jax.errors import InputError, RunError, check_size
from rnn_jax.typing import Array, Bool, Carry, Float, Inputs, Int, Key, Params


class NewtonReport(NamedTuple):
    """Outcome of Newton's iteration.

    A small residual is not enough: a recurrence that amplifies small changes turns it into a large
    error at later steps. The error is therefore estimated by running the linearized recurrence on
    the residual, which gives the correction of the iteration, and on rounding errors of one unit in
    the last place at every step.

    Attributes:
      residual: the largest |step(carry_t-1, x_t) - carry_t| / (1 + |carry_t|) over all entries of
        all carries, before the last correction; NaN if one of them is not finite.
      error: the largest estimated error of a carry over 1 + |carry_t|; NaN likewise.
      iterations: the number of iterations.
      converged: true if the estimated error of every entry is at most eps^(2/3).
    """

    residual: Float[Array, ""]
    error: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]

    def check(self) -> None:
        """Raise RunError unless the iteration converged; under `jit` its values are NaN instead."""
        if not isinstance(self.converged, Tracer) and not self.converged:
            raise RunError(
                f"the newton driver did not converge: after {int(self.iterations)} iterations its "
                f"residual is {float(self.residual):.2g} and the estimated error of the carries "
                f"{float(self.error):.2g}; use driver='scan' for this cell."
            )


@dataclasses.dataclass(frozen=True)
class Newton(Driver):
    """Run any cell without spatial axes in parallel over time, by Newton's iteration.

    Attributes:
      max_iterations: the most iterations before the run counts as not converged.

    Raises:
      InputError: `max_iterations` is not a positive whole number.
    Reference: Lim, Zhu, Selfridge, Kasim (2024), "Parallelizing non-linear sequential models over
    the sequence length".
    """

    name: ClassVar[str] = "newton"
    max_iterations: int = 100

    def __post_init__(self):
        check_size("max_iterations", self.max_iterations)

    def check(self, cell, steps):
        """Raise InputError unless `cell` has no spatial axes and T is fixed."""
        if cell.spatial_axes:
            raise InputError(
                f"the newton driver needs a cell without spatial axes, got "
                f"{type(given_cell(cell)).__name__}; use driver='auto'."
            )
        super().check(cell, steps)

    def run(self, cell, params, carry, xs):
        """Run the cell and report on the iteration."""
        return newton(cell, params, carry, xs, self.max_iterations)


def unroll_newton(
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
    max_iterations: int = 100,
) -> tuple[Carry, Float[Array, "T ... O"], NewtonReport]:
    """`unroll` by Newton's iteration, with a report on its convergence.

    If it did not converge, all values after the first step are NaN. The gradient is that of the
    solution, by one more linear recurrence; it does not differentiate the iteration.

    Args:
      cell, params, xs, carry, lengths, mask, resets, reverse, key: as in `unroll`.
      max_iterations: as in `Newton`.

    Returns:
      The final carry, the outputs ys [T, ..., O] and a `NewtonReport`.

    Raises:
      InputError: as `unroll` and `Newton`.
    """
    driver = Newton(max_iterations)
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
    driver.check(run.cell, len(xs))
    if len(xs):
        carry, ys, report = driver.run(run.cell, run.params, run.carry, run.xs)
    else:
        carry, ys = scan_steps(run.cell, run.params, run.carry, run.xs)
        zero = jnp.zeros(())
        report = NewtonReport(zero, zero, jnp.zeros((), jnp.int32), jnp.array(True))
    return *run.finish(carry, ys), report


@partial(jax.jit, static_argnames=("cell", "max_iterations"))
def newton(
    cell: Cell, params: Params, carry: Carry, xs: Inputs, max_iterations: int
) -> tuple[Carry, Float[Array, "T ... O"], NewtonReport]:
    """The final carry, the outputs and a report, for T > 0."""
    solved: Any = _solve(cell, max_iterations, params, carry, xs)
    states, report = solved
    past = jax.tree.map(lambda c, s: jnp.concatenate([c[None], s[:-1]]), carry, states)
    carries, ys = jax.vmap(partial(cell.step, params))(past, xs)
    return at(carries, -1), ys, report


def _split(flat, like):
    leaves, structure = jax.tree.flatten(like)
    widths = [leaf.shape[-1] for leaf in leaves]
    ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
    return structure.unflatten(jnp.split(flat, ends, axis=-1))


def _steps(cell, params, carry, past, xs):
    """Each carry computed from the one before it, [T, ..., n], and its Jacobian [T, ..., n, n]."""

    def after(flat, x):
        return join_fields(cell.step(params, _split(flat, carry), x)[0])

    def linearized(flat, x):
        value, push = jax.linearize(lambda f: after(f, x), flat)
        rows = jnp.eye(flat.shape[-1], dtype=flat.dtype)
        # An empty sum: a zero for each example, sharded over a mesh as the carry is.
        zeros = flat[..., :0].sum(-1, keepdims=True)
        jacobian = jax.vmap(lambda row: push(expand(row, zeros) + zeros), out_axes=-2)(rows)
        return value, jacobian

    return jax.vmap(linearized)(past, xs)


def _linear_scan(a, b, reverse=False):
    """s_t = s_t-1 a_t + b_t for rows b [T, ..., K, n] and matrices a [T, ..., n, n]."""

    def join(early, late):
        return early[0] @ late[0], early[1] @ late[0] + late[1]

    return jax.lax.associative_scan(join, (a, b), reverse=reverse)[1]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _solve(cell, max_iterations, params, carry, xs):
    start = join_fields(carry)
    steps = len(jax.tree.leaves(xs)[0])
    eps = float(jnp.finfo(start.dtype).eps)
    tolerance = eps ** (2 / 3)
    signs = jax.random.rademacher(jax.random.key(0), (steps, *start.shape), start.dtype)

    def iterate(state):
        states, *_, count = state
        past = jnp.concatenate([start[None], states[:-1]])
        value, a = _steps(cell, params, carry, past, xs)
        off, unit = value - states, 1 + jnp.abs(states)
        moved = _linear_scan(a, jnp.stack([off, eps * unit * signs], axis=-2))
        correction, rounding = moved[..., 0, :], moved[..., 1, :]
        error = (jnp.abs(correction) + jnp.abs(rounding)) / unit
        return states + correction, off / unit, error, count + 1

    def unfinished(state):
        _, _, error, count = state
        within = jnp.all(error <= tolerance)  # False for NaN, which `jnp.max` may drop.
        diverged = (count > 0) & ~jnp.isfinite(error).all()
        return ~within & ~diverged & (count < max_iterations)

    guess = jnp.broadcast_to(start, (steps, *start.shape))
    unknown = jnp.full_like(guess, jnp.inf)
    first = guess, unknown, unknown, jnp.zeros((), jnp.int32)
    states, off, error, count = jax.lax.while_loop(unfinished, iterate, first)
    converged = jnp.all(error <= tolerance) & jnp.isfinite(states).all()
    states = jnp.where(converged, states, jnp.nan)
    return _split(states, carry), NewtonReport(_largest(off), _largest(error), count, converged)


def _largest(x):
    """The largest absolute value, or NaN unless all are finite: XLA's maximum may drop NaN."""
    return jnp.where(jnp.isfinite(x).all(), jnp.max(jnp.abs(x), initial=0), jnp.nan)


def _forward(cell, max_iterations, params, carry, xs):
    solved: Any = _solve(cell, max_iterations, params, carry, xs)
    states, report = solved
    return (states, report), (params, carry, xs, states)


def _backward(cell, max_iterations, residuals, cotangents):
    """The adjoint, a linear recurrence backward in time: g_t = d_t + g_t+1 a_t+1 transposed."""
    params, carry, xs, states = residuals
    d_states, _ = cotangents
    past = jnp.concatenate([join_fields(carry)[None], join_fields(states)[:-1]])
    _, a = _steps(cell, params, carry, past, xs)
    after = jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])
    d_states = join_fields(d_states)[..., None, :]
    g = _linear_scan(jnp.swapaxes(after, -1, -2), d_states, reverse=True)[..., 0, :]

    def forward(params, past, xs):
        step = partial(cell.step, params)
        return jax.vmap(lambda c, x: join_fields(step(_split(c, carry), x)[0]))(past, xs)

    d_params, d_past, d_xs = jax.vjp(forward, params, past, xs)[1](g)
    return d_params, _split(d_past[0], carry), d_xs


_solve.defvjp(_forward, _backward)
