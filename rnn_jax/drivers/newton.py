"""The newton driver: any cell in parallel over time, by Newton's iteration over the sequence.

Each iteration linearizes every step around the last iterate and solves the linear recurrence by an
associative scan. It needs T Jacobians for each example: matrices [n, n], where n is the size of the
carry, or their diagonals.
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import join_fields
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_vectors
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.base import Driver, given_cell
from rnn_jax.drivers.linearized import (
    linearize,
    outputs,
    pull_back,
    push_forward,
    recurrence,
    shifted,
    split_fields,
)
from rnn_jax.drivers.newton_report import NewtonReport
from rnn_jax.drivers.scan import scan_steps
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Bool, Carry, Float, Inputs, Int, Key, Params


@dataclasses.dataclass(frozen=True)
class Newton(Driver):
    """Run any cell without spatial axes in parallel over time, by Newton's iteration.

    The number of iterations is small for a contracting recurrence, whose largest Lyapunov exponent
    is negative, and grows with T for a chaotic one; see `newton_forecast`.

    Attributes:
      max_iterations: the maximum number of iterations before the run counts as not converged.
      jacobian: "full", or "diagonal" for a quasi-Newton iteration with only the diagonals: n
        instead of n² values for each step, but more iterations. It is exact, and as fast as an
        elementwise recurrence, for a cell with `diagonal_jacobian`. For other cells the backward
        pass runs step by step.
      damping: a value in [0, 1); the Jacobians are multiplied by 1 - damping. Damping keeps the
        iterates of an expanding recurrence bounded, but takes more iterations.

    Raises:
      InputError: an attribute out of range.
    References: Lim, Zhu, Selfridge, Kasim (2024), "Parallelizing non-linear sequential models over
    the sequence length"; Gonzalez, Warrington, Smith, Linderman (2024), "Towards scalable and
    stable parallelization of nonlinear RNNs", for the diagonal and damping.
    """

    name: ClassVar[str] = "newton"
    max_iterations: int = 100
    jacobian: Literal["full", "diagonal"] = "full"
    damping: float = 0.0

    def __post_init__(self):
        check_size("max_iterations", self.max_iterations)
        if self.jacobian not in ("full", "diagonal"):
            raise InputError(f"jacobian must be 'full' or 'diagonal', got {self.jacobian!r}.")
        if not (isinstance(self.damping, int | float) and 0 <= self.damping < 1):
            raise InputError(
                f"damping must be a number from 0 up to but excluding 1, got {self.damping!r}."
            )

    def check(self, cell, steps):
        """Raise InputError unless `cell` has no spatial axes and T is fixed."""
        require_vectors("the newton driver", given_cell(cell), "; use driver='auto'")
        super().check(cell, steps)

    def run(self, cell, params, carry, xs):
        """Run the cell and report on the iteration."""
        carry, ys, report = newton(cell, self, params, carry, xs)
        return carry, ys, report._replace(states=None)


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
    guess: Carry | None = None,
    max_iterations: int = 100,
    jacobian: Literal["full", "diagonal"] = "full",
    damping: float = 0.0,
) -> tuple[Carry, Float[Array, "T ... O"], NewtonReport]:
    """`unroll` with Newton's iteration and a report on its convergence.

    If it does not converge, all values after the first step are NaN. The gradient is that of the
    solution, from one more linear recurrence; the iteration is not differentiated.

    Args:
      cell, params, xs, carry, lengths, mask, resets, reverse, key: as in `unroll`.
      guess: an initial guess for the carry after each step, such as `states` in the report of a run
        with similar parameters and the same masks; by default, the first carry at every step.
      max_iterations, jacobian, damping: as in `Newton`.

    Returns:
      The final carry, the outputs ys [T, ..., O] and a `NewtonReport`.

    Raises:
      InputError: as in `unroll` and `Newton`; a guess with different fields or shapes.
    """
    driver = Newton(max_iterations, jacobian, damping)
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
        _check_guess(guess, run.carry, len(xs))
        carry, ys, report = newton(run.cell, driver, run.params, run.carry, run.xs, guess)
    else:
        carry, ys = scan_steps(run.cell, run.params, run.carry, run.xs)
        zero, none = jnp.zeros(()), jnp.full(max_iterations, jnp.nan)
        report = NewtonReport(zero, zero, jnp.zeros((), jnp.int32), jnp.array(True), none)
    return *run.finish(carry, ys), report


def _check_guess(guess, carry, steps):
    if guess is None:
        return

    def shapes(tree, lead):
        leaves, structure = jax.tree.flatten(tree)
        return structure, [(*lead, *jnp.shape(leaf)) for leaf in leaves]

    if shapes(guess, ()) != (want := shapes(carry, (steps,))):
        raise InputError(
            f"guess must be the carry after each step, {type(carry).__name__} of shapes {want[1]}; "
            f"got {type(guess).__name__} of shapes {shapes(guess, ())[1]}."
        )


@partial(jax.jit, static_argnames=("cell", "options"))
def newton(
    cell: Cell,
    options: Newton,
    params: Params,
    carry: Carry,
    xs: Inputs,
    guess: Carry | None = None,
) -> tuple[Carry, Float[Array, "T ... O"], NewtonReport]:
    """The final carry, the outputs and a report, for T > 0."""
    solved: Any = _solve(cell, options, params, carry, xs, guess)
    states, report = solved
    return *outputs(cell, params, carry, states, xs), report._replace(states=states)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _solve(cell, options, params, carry, xs, guess):
    start = join_fields(carry)
    steps = len(jax.tree.leaves(xs)[0])
    eps = float(jnp.finfo(start.dtype).eps)
    signs = jax.random.rademacher(jax.random.key(0), (steps, *start.shape), start.dtype)
    exact = not options.damping and (options.jacobian == "full" or cell.diagonal_jacobian)

    def iterate(state):
        states, rounding, *_, residuals, count = state
        past, unit = shifted(start, states), 1 + jnp.abs(states)
        value, a = linearize(cell, params, carry, past, xs, options.jacobian == "diagonal")
        off, forcing = value - states, eps * unit * signs
        if not exact:
            # The equation for the rounding errors is solved together with that for the states.
            before = shifted(jnp.zeros_like(start), rounding)
            forcing += push_forward(cell, params, carry, past, xs, before) - rounding
        moved = recurrence((1 - options.damping) * a, jnp.stack([off, forcing], axis=-2))
        correction, change = moved[..., 0, :], moved[..., 1, :]
        off, forcing = off / unit, forcing / unit
        if exact:
            rounding, factor, solved = change, 1, True
        else:
            # Residuals are amplified like rounding errors, which are one unit in the last place.
            rounding, factor = rounding + change, 1 + jnp.max(jnp.abs(off), initial=0) / eps
            solved = jnp.all(jnp.abs(forcing) <= eps / 10)
        error = (jnp.abs(correction) + factor * jnp.abs(rounding)) / unit
        within = jnp.all(error <= eps ** (2 / 3))  # False for NaN, which `jnp.max` may drop.
        residuals = residuals.at[count].set(_largest(off))
        return states + correction, rounding, error, within & solved, residuals, count + 1

    def unfinished(state):
        *_, error, done, _, count = state
        diverged = (count > 0) & ~jnp.isfinite(error).all()
        return ~done & ~diverged & (count < options.max_iterations)

    first = jnp.broadcast_to(start, (steps, *start.shape))
    if guess is not None:
        # A selection, so that the guess varies over a mesh like the carry.
        first = jnp.where(True, join_fields(guess).astype(first.dtype), first)
    zeros, unknown = jnp.zeros_like(first), jnp.full_like(first, jnp.inf)
    # An empty sum: a zero that varies over a mesh like the carry.
    residuals = jnp.full(options.max_iterations, jnp.nan, start.dtype) + start[..., :0].sum()
    done = jnp.all(unknown < 0)
    state = first, zeros, unknown, done, residuals, jnp.zeros((), jnp.int32)
    states, _, error, done, residuals, count = jax.lax.while_loop(unfinished, iterate, state)
    converged = done & jnp.isfinite(states).all()
    states = jnp.where(converged, states, jnp.nan)
    residual = residuals[jnp.maximum(count - 1, 0)]
    report = NewtonReport(residual, _largest(error), count, converged, residuals)
    return split_fields(states, carry), report


def _largest(x):
    """The largest absolute value, or NaN unless all are finite: XLA's maximum may drop NaNs."""
    return jnp.where(jnp.isfinite(x).all(), jnp.max(jnp.abs(x), initial=0), jnp.nan)


def _forward(cell, options, params, carry, xs, guess):
    solved: Any = _solve(cell, options, params, carry, xs, guess)
    states, report = solved
    return (states, report), (params, carry, xs, states)


def _backward(cell, options, residuals, cotangents):
    if options.jacobian == "full":
        backward = "matrix"
    else:
        backward = "diagonal" if cell.diagonal_jacobian else "sequential"
    params, carry, xs, states = residuals
    return *pull_back(cell, backward, params, carry, xs, states, cotangents[0]), None


_solve.defvjp(_forward, _backward)
