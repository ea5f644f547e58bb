"""Cells that are linear in their state, so they can run in parallel over time."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softplus
from jax.numpy import exp, log, sqrt

from rnn_jax.cells.array_ops import dot, expand
from rnn_jax.cells.gate_params import lecun_normal
from rnn_jax.cells.linear_cell import LinearCell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float

SMALLEST = 1e-12
"""Lower bound of the argument of the square root in an RG-LRU, whose slope is infinite at 0."""


@dataclasses.dataclass(frozen=True)
class MinGRUCell(LinearCell):
    """Minimal GRU, gates in the order z (write), n (content).

        z = sigmoid(x w_x + b)      n = x w_x + b
        h' = a h + z n              a = (1 - z) + a_min z

    Carry: h [..., H]. Params: w_x [D, 2H], b [2H].

    Args:
      a_min: the minimum of a; 0 in the paper. With -1, a unit can flip its sign at each occurrence
        of a symbol, and so compute parity; in finite precision, no stack of linear cells with a
        between 0 and 1 can do so for strings of every length.

    Raises:
      InputError: unless -1 <= `a_min` < 1.
    References: Feng, Tung, Ahmed, Bengio, Hajimirsadeghi (2024), "Were RNNs all we needed?";
    Grazzi, Siems, Zela, Franke, Hutter, Pontil (2024), "Unlocking state-tracking in linear RNNs
    through negative eigenvalues".
    """

    a_min: float = 0.0
    gates = ("z", "n")
    write_gate = "z"

    def __post_init__(self):
        super().__post_init__()
        if not -1 <= self.a_min < 1:
            raise InputError(f"a_min must be at least -1 and below 1, got {self.a_min!r}.")

    def activations(self, params, carry, x_gates, h_gates):
        """The values of z, n."""
        z, n = self.split(x_gates)
        return sigmoid(z), n

    def coefficients(self, params, x_gates):
        """a and z n."""
        z, n = self.split(x_gates)
        return sigmoid(-z) + self.a_min * sigmoid(z), sigmoid(z) * n


@dataclasses.dataclass(frozen=True)
class MinLSTMCell(LinearCell):
    """Minimal LSTM, gates in the order i (write), f (keep), n (content).

        i, f = sigmoid(x w_x + b)      n = x w_x + b
        h' = (f h + i n) / (f + i)

    Carry: h [..., H]. Params: w_x [D, 3H], b [3H].

    Reference: Feng, Tung, Ahmed, Bengio, Hajimirsadeghi (2024), "Were RNNs all we needed?".
    """

    gates = ("i", "f", "n")
    keep_gate, write_gate = "f", "i"

    def activations(self, params, carry, x_gates, h_gates):
        """The values of i and f, divided by their sum, and of n."""
        i, f, n = self.split(x_gates)
        logit = softplus(-i) - softplus(-f)
        return sigmoid(-logit), sigmoid(logit), n

    def coefficients(self, params, x_gates):
        """f / (f + i) and i n / (f + i)."""
        i, f, n = self.activations(params, None, x_gates, NO_GATES)
        return f, i * n


class RGLRUParams(NamedTuple):
    """Parameters of an RG-LRU; a step with r = 1 multiplies h by sigmoid(decay)^8."""

    w_x: Float[Array, "D 3*H"]
    b: Float[Array, " 3*H"]
    decay: Float[Array, " H"]


@dataclasses.dataclass(frozen=True)
class RGLRUCell(LinearCell):
    """Real-gated linear recurrent unit, gates in the order r (recurrence), i (write), n (content).

        r, i = sigmoid(x w_x + b)      n = x w_x + b
        a = sigmoid(decay)^(8 r)
        h' = a h + sqrt(1 - a^2) i n

    Carry: h [..., H]. Params: w_x [D, 3H], b [3H], decay [H].
    Departs from the paper: n is a linear map of x instead of x itself, so that D may differ from H.

    Reference: De et al. (2024), "Griffin: mixing gated linear recurrences with local attention for
    efficient language models".
    """

    gates = ("r", "i", "n")

    def init(self, key, input_size):
        """As for every linear cell, with sigmoid(decay)^8 uniform between 0.9 and 0.999."""
        key, key_a = jax.random.split(key)
        a = jax.random.uniform(key_a, (self.hidden_size,), jnp.float32, 0.9, 0.999) ** 0.125
        return RGLRUParams(*super().init(key, input_size), decay=log(a) - jnp.log1p(-a))

    def activations(self, params, carry, x_gates, h_gates):
        """The values of r, i, n."""
        r, i, n = self.split(x_gates)
        return sigmoid(r), sigmoid(i), n

    def coefficients(self, params, x_gates):
        """a and sqrt(1 - a^2) i n."""
        r, i, n = self.activations(params, None, x_gates, NO_GATES)
        log_a = -8 * expand(softplus(-params.decay), r) * r
        return exp(log_a), sqrt(jnp.maximum(-jnp.expm1(2 * log_a), SMALLEST)) * i * n


class ComplexCarry(NamedTuple):
    """The real and imaginary parts of a complex state."""

    re: Float[Array, "... H"]
    im: Float[Array, "... H"]


class ComplexLinearCell(LinearCell):
    """A linear cell with a complex state, gates in the order re, im: the parts of its input.

    Params include w_y [2H, H], the real and imaginary parts of an output matrix.
    """

    gates = ("re", "im")
    carry_type = ComplexCarry
    diagonal_jacobian = False

    def state(self, carry):
        """re + i im."""
        return jax.lax.complex(carry.re, carry.im)

    def carry(self, state):
        """The real and imaginary parts of the state."""
        return ComplexCarry(state.real, state.imag)

    def readout(self, params, carry):
        """The output y."""
        return dot(jnp.concatenate(carry, axis=-1), params.w_y)


class LRUParams(NamedTuple):
    """Parameters of an LRU: input matrix, eigenvalues, scale of the input, output matrix."""

    w_x: Float[Array, "D 2*H"]
    b: Float[Array, " 2*H"]
    nu: Float[Array, " H"]
    theta: Float[Array, " H"]
    gamma: Float[Array, " H"]
    w_y: Float[Array, "2*H H"]


@dataclasses.dataclass(frozen=True)
class LRUCell(ComplexLinearCell):
    """Complex linear recurrent unit, gates in the order re, im: the parts of its input.

        lambda = exp(-exp(nu) + i exp(theta))
        s' = lambda s + exp(gamma) (x w_x + b)
        y = Re(s w_y)

    Carry: re, im [..., H]. Params: w_x [D, 2H], b [2H], nu, theta, gamma [H], w_y [2H, H].
    Departs from the paper: there is a bias and no skip connection from x to y; use a residual layer
    instead.

    Raises:
      InputError: unless 0 <= low < high <= 1 for (low, high) = `radii`.
    Reference: Orvieto et al. (2023), "Resurrecting recurrent neural networks for long sequences".
    """

    radii: tuple[float, float] = (0.9, 0.999)
    largest_angle: float = 6.28

    def __post_init__(self):
        super().__post_init__()
        low, high = self.radii
        if not 0 <= low < high <= 1:
            raise InputError(f"radii must be 0 <= low < high <= 1, got {self.radii}.")

    def init(self, key, input_size):
        """Eigenvalues uniform in a ring; inputs scaled so that white noise gives unit states.

        Complex matrices are normal; each part has half the variance of LeCun normal.
        """
        key, key_nu, key_theta, key_y = jax.random.split(key, 4)
        size, (low, high) = self.hidden_size, self.radii
        squared = jax.random.uniform(key_nu, (size,), jnp.float32, low**2, high**2)
        theta = jax.random.uniform(key_theta, (size,), jnp.float32, 1e-3, self.largest_angle)
        w_x, b = super().init(key, input_size)
        w_y = lecun_normal(key_y, (2 * size, size), jnp.float32)
        nu, gamma = log(-0.5 * log(squared)), 0.5 * jnp.log1p(-squared)
        return LRUParams(sqrt(0.5) * w_x, b, nu, log(theta), gamma, sqrt(2) * w_y)

    def coefficients(self, params, x_gates):
        """lambda [H] and the scaled input."""
        nu, theta = params.nu.astype(x_gates.dtype), params.theta.astype(x_gates.dtype)
        a = exp(jax.lax.complex(-exp(nu), exp(theta)))
        gamma = exp(params.gamma.astype(x_gates.dtype))
        re, im = (expand(gamma, part) * part for part in self.split(x_gates))
        return a, jax.lax.complex(re, im)


NO_GATES: Any = None
"""Placeholder for h_gates, which a linear cell does not use."""
