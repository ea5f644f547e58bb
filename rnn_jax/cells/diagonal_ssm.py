"""Diagonal state space model."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.numpy import exp, log

from rnn_jax.cells.array_ops import expand
from rnn_jax.cells.gate_params import lecun_normal
from rnn_jax.cells.linear import ComplexLinearCell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float


class S5Params(NamedTuple):
    """Parameters of an S5 cell: input matrix, eigenvalues, step sizes, output matrix."""

    w_x: Float[Array, "D 2*H"]
    b: Float[Array, " 2*H"]
    decay: Float[Array, " H"]
    frequency: Float[Array, " H"]
    log_step: Float[Array, " H"]
    w_y: Float[Array, "2*H H"]


@dataclasses.dataclass(frozen=True)
class S5Cell(ComplexLinearCell):
    """Complex diagonal state space model, gates in the order re, im: the parts of its input.

        lambda = -exp(decay) + i frequency      step = exp(log_step)
        a = exp(lambda step)
        s' = a s + (a - 1) / lambda (x w_x + b)
        y = Re(s' w_y)

    Carry: re, im [..., H]. Params: w_x [D, 2H], b [2H], decay, frequency, log_step [H],
    w_y [2H, H]. The continuous system is discretized by zero-order hold. The initial
    eigenvalues are -1/2 + i pi n, as in S4D-Lin.
    Departs from the paper: eigenvalues are not initialized with HiPPO-N, there is a bias, and there
    is no skip connection from x to y; use a residual layer instead.

    Args:
      steps: the range of the step sizes, initialized log-uniformly. A mode remembers about 2/step
        steps.

    Raises:
      InputError: unless 0 < low < high for (low, high) = `steps`.
    References: Smith, Warrington, Linderman (2023), "Simplified state space layers for sequence
    modeling"; Gu, Gupta, Goel, Re (2022), "On the parameterization and initialization of diagonal
    state space models".
    """

    steps: tuple[float, float] = (0.001, 0.1)

    def __post_init__(self):
        super().__post_init__()
        low, high = self.steps
        if not 0 < low < high:
            raise InputError(f"steps must be 0 < low < high, got {self.steps}.")

    def init(self, key, input_size) -> Any:
        """Complex matrices are normal; each part has half the variance of LeCun normal."""
        key, key_s, key_y = jax.random.split(key, 3)
        size, (low, high) = self.hidden_size, self.steps
        w_x, b = super().init(key, input_size)
        half = jnp.float32(0.5)
        return S5Params(
            w_x=half**0.5 * w_x,
            b=b,
            decay=jnp.full(size, log(half)),
            frequency=jnp.pi * jnp.arange(size, dtype=jnp.float32),
            log_step=jax.random.uniform(key_s, (size,), jnp.float32, log(low), log(high)),
            w_y=half**-0.5 * lecun_normal(key_y, (2 * size, size), jnp.float32),
        )

    def coefficients(self, params, x_gates):
        """a [H] and the input, scaled by (a - 1) / lambda."""
        decay, frequency, log_step = (
            leaf.astype(x_gates.dtype) for leaf in (params.decay, params.frequency, params.log_step)
        )
        eigenvalues, step = jax.lax.complex(-exp(decay), frequency), exp(log_step)
        a = exp(jax.lax.complex(-exp(decay) * step, frequency * step))
        re, im = self.split(x_gates)
        source = jax.lax.complex(re, im)
        return a, expand((a - 1) / eigenvalues, source) * source
