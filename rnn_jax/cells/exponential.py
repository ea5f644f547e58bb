"""Long short-term memory with exponential gates."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jax.numpy import exp, tanh

from rnn_jax.cell import GatedCell
from rnn_jax.initializers import gate_bias
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
class SLSTMCell(GatedCell):
    """LSTM with an exponential input gate, gates in the order i (write), f (keep), g, o (read).

        i = exp(x w_x + b + h w_h)      f, o = sigmoid(...)      g = tanh(...)
        c' = f c + i g      n' = f n + i
        h' = o c' / n'

    c and n are kept divided by exp(m), m' = max(log f + m, log i), which leaves h as it is and no
    number to overflow.
    Carry: h, c, n, m [..., H]. Params: w_x [D, 4H], w_h [H, 4H], b [4H].

    Reference: Beck et al. (2024), "xLSTM: extended long short-term memory" (one head).
    """

    forget_bias: float = 1.0
    gates = ("i", "f", "g", "o")
    keep_gate = "f"
    carry_type = SLSTMCarry

    def init(self, key, input_size):
        """As every gated cell, with b = forget_bias for the gate f."""
        return gate_bias(self, super().init(key, input_size), "f", self.forget_bias)

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        """Zeros, and m below every gate."""
        carry = super().initial_carry(batch_shape, dtype)
        return carry._replace(m=jnp.full_like(carry.m, LOWEST))

    def activations(self, params, carry, x_gates, h_gates):
        """The values of i and f, as c and n are kept, and of g, o."""
        log_i, f, g, o = self.split(x_gates + h_gates)
        m = jnp.maximum(log_sigmoid(f) + carry.m, log_i)
        return exp(log_i - m), exp(log_sigmoid(f) + carry.m - m), tanh(g), sigmoid(o)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        i, f, g, o = self.activations(params, carry, x_gates, h_gates)
        log_i, log_f, *_ = self.split(x_gates + h_gates)
        c, n = f * carry.c + i * g, f * carry.n + i
        m = jnp.maximum(log_sigmoid(log_f) + carry.m, log_i)
        return SLSTMCarry(h=o * c / n, c=c, n=n, m=m)
