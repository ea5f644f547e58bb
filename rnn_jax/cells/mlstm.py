"""LSTM with a matrix as its memory cell."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jax.numpy import abs, exp, maximum

from rnn_jax.cells.matrix_state import MatrixCell, outer, read
from rnn_jax.typing import Array, Float


class MLSTMCarry(NamedTuple):
    """Output, matrices, normalizer, and stabilizer m: c and n are stored divided by exp(m)."""

    h: Float[Array, "... H"]
    c: Float[Array, "... K*H"]
    n: Float[Array, "... H"]
    m: Float[Array, "... heads"]


@dataclasses.dataclass(frozen=True)
class MLSTMCell(MatrixCell):
    """LSTM with a matrix memory, gates in the order q, k, v, o (read), i (write), f (keep).

        q, v = x w_x      k = x w_x / sqrt(K)      o = sigmoid(x w_x)
        i = exp(x w_s + b_s)      f = sigmoid(x w_s + b_s)
        C' = f C + i k v^T      n' = f n + i k
        h' = o C'^T q / max(|n'^T q|, 1)            for each head

    The memory C [K, K] maps keys to values, both of size K = H / heads.
    C and n are stored divided by exp(m), m' = max(log f + m, log i, 0), which prevents overflow and
    does not change h. C, n and m depend on each other, so apply zoneout to h only.
    Carry: h [..., H], c [..., K*H], n [..., H], m [..., heads]. Params: w_x [D, 4H],
    w_s [D, 2 heads], b_s [2 heads].
    Departs from the paper: m is at least 0, which keeps exp(-m) finite; q, k, v and o have no bias;
    and h is not normalized.

    Raises:
      InputError: `heads` does not divide H.
    Reference: Beck et al. (2024), "xLSTM: extended long short-term memory".
    """

    vectors = ("q", "k", "v", "o")
    scalars = ("i", "f")
    carry_type = MLSTMCarry

    @property
    def widths(self):
        """H, K H, H and the number of heads."""
        return *super().widths, self.hidden_size, self.heads

    def init(self, key, input_size) -> Any:
        """As for every matrix cell, with the bias of f spaced from 3 to 6 over the heads."""
        params = super().init(key, input_size)
        bias = jnp.linspace(3, 6, self.heads, dtype=jnp.float32)
        return params._replace(b_s=params.b_s.at[self.heads :].set(bias))

    def activations(self, params, carry, x_gates, h_gates):
        """The values of q, k, v, o [..., H], and of i and f relative to exp(m), [..., heads]."""
        *vectors, i, f = self._stabilized(carry, x_gates)[1:]
        return *(gate.reshape(carry.h.shape) for gate in vectors), i, f

    def _stabilized(self, carry, x_gates):
        q, k, v, o, log_i, f = self.split(x_gates)
        log_f = log_sigmoid(f) + carry.m
        m = maximum(maximum(log_f, log_i), 0)
        return m, q, k / self.head_size**0.5, v, sigmoid(o), exp(log_i - m), exp(log_f - m)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        m, q, k, v, o, i, f = self._stabilized(carry, x_gates)
        k = i[..., None] * k
        c = f[..., None, None] * self.matrices(carry.c) + outer(k, v)
        n = f[..., None] * self.by_head(carry.n) + k
        size = maximum(abs((n * q).sum(-1)), exp(-m))
        h = o * read(c, q) / size[..., None]
        return MLSTMCarry(
            h.reshape(carry.h.shape), c.reshape(carry.c.shape), n.reshape(carry.n.shape), m
        )
