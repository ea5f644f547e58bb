"""Long short-term memory with exponential gates."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jax.numpy import exp, tanh

from rnn_jax.cells.lstm import LSTMCell
from rnn_jax.typing import Array, Float

LOWEST = -1e30
"""Where the stabiliser starts: below every gate, so that the first input is written whole."""


class SLSTMCarry(NamedTuple):
    """Output, memory cell, normaliser, and stabiliser: the log of what c and n are divided by."""

    h: Float[Array, "... H"]
    c: Float[Array, "... H"]
    n: Float[Array, "... H"]
    m: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class SLSTMCell(LSTMCell):
    """LSTM with an exponential input gate, gates in the order i (write), f (keep), g, o (read).

        i = exp(x w_x + b + h w_h)      f, o = sigmoid(...)      g = tanh(...)
        c' = f c + i g      n' = f n + i
        h' = o c' / n'

    c and n are kept divided by exp(m), m' = max(log f + m, log i), which leaves h as it is and no
    number to overflow.
    Only together do they say something: of this carry, zone out h alone.
    Carry: h, c, n, m [..., H]. Params: w_x [D, 4H], w_h [H, 4H], b [4H].

    Reference: Beck et al. (2024), "xLSTM: extended long short-term memory" (one head).
    """

    write_gate = None
    carry_type = SLSTMCarry

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        """Zeros, and m below every gate."""
        carry = super().initial_carry(batch_shape, dtype)
        return carry._replace(m=jnp.full_like(carry.m, LOWEST))

    def activations(self, params, carry, x_gates, h_gates):
        """The values of i and f, as c and n are kept, and of g, o."""
        return self._stabilised(carry, x_gates, h_gates)[1:]

    def _stabilised(self, carry, x_gates, h_gates):
        log_i, f, g, o = self.split(x_gates + h_gates)
        log_f = log_sigmoid(f) + carry.m
        m = jnp.maximum(log_f, log_i)
        return m, exp(log_i - m), exp(log_f - m), tanh(g), sigmoid(o)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        m, i, f, g, o = self._stabilised(carry, x_gates, h_gates)
        c, n = f * carry.c + i * g, f * carry.n + i
        return SLSTMCarry(h=o * c / n, c=c, n=n, m=m)
