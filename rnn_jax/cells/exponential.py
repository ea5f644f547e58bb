"""LSTM with an exponential input gate."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jax.numpy import exp, tanh

from rnn_jax.cells.lstm import LSTMCell
from rnn_jax.typing import Array, Float

LOWEST = -1e30
"""Initial stabilizer, below every gate, so that the first step writes with weight 1."""


class SLSTMCarry(NamedTuple):
    """Output, memory cell, normalizer, and stabilizer m: c and n are stored divided by exp(m)."""

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

    c and n are stored divided by exp(m), m' = max(log f + m, log i), which prevents overflow and
    does not change h. c, n and m depend on each other, so apply zoneout to h only.
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
        """The values of i and f relative to exp(m), and of g, o."""
        return self._stabilized(carry, x_gates, h_gates)[1:]

    def _stabilized(self, carry, x_gates, h_gates):
        log_i, f, g, o = self.split(x_gates + h_gates)
        log_f = log_sigmoid(f) + carry.m
        m = jnp.maximum(log_f, log_i)
        return m, exp(log_i - m), exp(log_f - m), tanh(g), sigmoid(o)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        m, i, f, g, o = self._stabilized(carry, x_gates, h_gates)
        c, n = f * carry.c + i * g, f * carry.n + i
        return SLSTMCarry(h=o * c / n, c=c, n=n, m=m)
