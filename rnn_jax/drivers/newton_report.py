"""The outcome of Newton's iteration over a sequence."""

from typing import NamedTuple

from jax.core import Tracer

from rnn_jax.errors import RunError
from rnn_jax.typing import Array, Bool, Carry, Float, Int


class NewtonReport(NamedTuple):
    """Outcome of Newton's iteration.

    A small residual is not enough: a recurrence that amplifies small changes turns it into a large
    error at later steps. The error is therefore estimated by running the linearized recurrence on
    the residual, which gives the correction of the iteration, and on rounding errors of one unit in
    the last place at every step. If the iteration does not use exact Jacobians, the errors from
    rounding are computed by a separate iteration, and those from the residual by comparison.

    Attributes:
      residual: the largest |step(carry_t-1, x_t) - carry_t| / (1 + |carry_t|) over all entries of
        all carries, before the last correction; NaN if one of them is not finite.
      error: the largest estimated error of a carry, divided by 1 + |carry_t|; NaN likewise.
      iterations: the number of iterations.
      converged: true if the estimated error of every entry is at most eps^(2/3).
      residuals: the residual of each iteration, [max_iterations]; NaN for those that did not run.
      states: the carry after each step, usable as `guess` of `unroll_newton`, or None.
    """

    residual: Float[Array, ""]
    error: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    residuals: Float[Array, " N"]
    states: Carry | None = None

    def check(self) -> None:
        """Raise RunError unless the iteration converged; under `jit` its values are NaN instead."""
        if not isinstance(self.converged, Tracer) and not self.converged:
            raise RunError(
                f"the newton driver did not converge: after {int(self.iterations)} iterations its "
                f"residual is {float(self.residual):.2g} and the estimated error of the carries "
                f"{float(self.error):.2g}; use driver='scan' for this cell."
            )
