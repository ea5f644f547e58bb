"""A forecast of whether Newton's iteration over a sequence converges."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.cells.array_ops import join_fields
from rnn_jax.cells.base import Cell
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.auto_axes import compiled
from rnn_jax.drivers.linearized import flat_step
from rnn_jax.errors import check_size
from rnn_jax.typing import Array, Bool, Carry, Float, Params


class NewtonForecast(NamedTuple):
    """A forecast of the newton driver for a sequence.

    Attributes:
      exponent: the largest Lyapunov exponent over the steps that were run, in nats per step,
        averaged over the batch. If it is negative, the number of iterations hardly grows with T.
      amplification: the maximum ratio of the accumulated rounding errors to one rounding error of a
        step, over all entries of all carries and T steps.
      converges: whether the amplification leaves an error of at most eps^(2/3), as the driver
        requires.
    """

    exponent: Float[Array, ""]
    amplification: Float[Array, ""]
    converges: Bool[Array, ""]


def newton_forecast(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    steps: int | None = None,
) -> NewtonForecast:
    """Forecast whether the newton driver converges on a sequence, from its first steps.

        e_t = e_t-1 J_t + ε_t      amplification = max |e_t| / |ε_t|

    ε_t are rounding errors with random signs. Beyond the steps that were run, the amplification is
    assumed to grow as exp(λ t) for a positive exponent λ.

    A forecast that an iteration converges means that its solution is reliable. From a poor guess,
    the iterates can still overflow before they converge; `Newton(damping=...)` prevents that.

    Args:
      cell: a cell without spatial axes.
      params, xs, carry: as in `unroll`.
      steps: the number of steps to run, by default all T. A few hundred are enough for a sequence
        whose statistics do not change.

    Raises:
      InputError: as in `lyapunov_spectrum`; `steps` is not a positive integer.
    Reference: Gonzalez, Kozachkov, Zoltowski, Clarkson, Linderman (2025), "Predictability enables
    parallelization of nonlinear state space models".
    """
    if steps is not None:
        check_size("steps", steps)
    first = xs[:steps]
    exponent = lyapunov_spectrum(cell, params, first, carry, count=1).mean()
    run = prepare(cell, params, first, carry)
    amplification = _amplification(run.cell, run.params, run.carry, run.xs)
    amplification *= jnp.exp(jnp.maximum(exponent, 0) * (len(xs) - len(first)))
    most = float(jnp.finfo(amplification.dtype).eps) ** (-1 / 3)
    return NewtonForecast(exponent, amplification, amplification <= most)


@compiled(static=1)
def _amplification(cell, params, carry, xs):
    start = join_fields(carry)
    signs = jax.random.rademacher(jax.random.key(0), (len(xs), *start.shape), start.dtype)

    def step(state, inputs):
        flat, error = state
        x, sign = inputs
        after = partial(flat_step, cell, carry, params, x=x)
        flat, error = jax.jvp(after, (flat,), (error,))
        unit = 1 + jnp.abs(flat)
        error += unit * sign
        return (flat, error), jnp.max(jnp.abs(error) / unit)

    _, errors = jax.lax.scan(step, (start, jnp.zeros_like(start)), (xs, signs))
    return jnp.max(errors)
