"""Linear transformers that write with the delta rule."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu, softplus

from rnn_jax.cells.array_ops import expand
from rnn_jax.cells.matrix_state import MatrixCarry, MatrixCell, normalized, outer, read
from rnn_jax.typing import Array, Float


def delta_rule(
    s: Float[Array, "... K V"], k: Float[Array, "... K"], v: Float[Array, "... V"], beta: Array
) -> Float[Array, "... K V"]:
    """Move the value stored in s for key k toward v by the fraction beta [...]."""
    return s + outer(k, beta[..., None] * (v - read(s, k)))


@dataclasses.dataclass(frozen=True)
class DeltaNetCell(MatrixCell):
    """DeltaNet, gates in the order q (query), k (key), v (value), beta (write).

        q, k = silu(x w_x) / |silu(x w_x)|      v = x w_x      beta = sigmoid(x w_s + b_s)
        S' = S + k beta (v - S^T k)^T      h' = S'^T q            for each head

    The memory S [K, K] maps keys to values, both of size K = H / heads.
    Carry: h [..., H], s [..., K*H]. Params: w_x [D, 3H], w_s [D, heads], b_s [heads].
    Departs from the papers: there are no convolutions in front of the gates, q is not divided by
    sqrt(K), and h is not normalized.

    Args:
      negative_eigenvalues: whether beta is twice the sigmoid, so that a step can flip the sign of
        the value stored for a key. The cell can then track a state such as parity.

    Raises:
      InputError: `heads` does not divide H.
    References: Schlag, Irie, Schmidhuber (2021), "Linear transformers are secretly fast weight
    programmers"; Yang, Wang, Zhang, Shen, Kim (2024), "Parallelizing linear transformers with the
    delta rule over sequence length"; Grazzi et al. (2024), "Unlocking state-tracking in linear RNNs
    through negative eigenvalues".
    """

    negative_eigenvalues: bool = False
    vectors = ("q", "k", "v")
    scalars = ("beta",)

    def activations(self, params, carry, x_gates, h_gates):
        """The values of q, k, v [..., H] and beta [..., heads]."""
        q, k, v, beta, *_ = self.split(x_gates)
        q, k = normalized(silu(q)), normalized(silu(k))
        scale = 2 if self.negative_eigenvalues else 1
        return *(gate.reshape(carry.h.shape) for gate in (q, k, v)), scale * sigmoid(beta)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        q, k, v, beta, *alpha = self.activations(params, carry, x_gates, h_gates)
        q, k, v = map(self.by_head, (q, k, v))
        s = self.matrices(carry.s)
        if alpha:
            s = alpha[0][..., None, None] * s
        s = delta_rule(s, k, v, beta)
        return MatrixCarry(read(s, q).reshape(carry.h.shape), s.reshape(carry.s.shape))


class GatedDeltaNetParams(NamedTuple):
    """Parameters of a gated DeltaNet; decay is the logarithm of a rate for each head."""

    w_x: Float[Array, "D 3*H"]
    w_s: Float[Array, "D 2*heads"]
    b_s: Float[Array, " 2*heads"]
    decay: Float[Array, " heads"]


@dataclasses.dataclass(frozen=True)
class GatedDeltaNetCell(DeltaNetCell):
    """DeltaNet with forgetting, gates in the order q, k, v, beta (write), alpha (keep).

        q, k = silu(x w_x) / |silu(x w_x)|      v = x w_x      beta = sigmoid(x w_s + b_s)
        alpha = exp(-exp(decay) softplus(x w_s + b_s))
        S' = alpha S + k beta (v - alpha S^T k)^T      h' = S'^T q            for each head

    Carry: h [..., H], s [..., K*H]. Params: w_x [D, 3H], w_s [D, 2 heads], b_s [2 heads],
    decay [heads]. Departures from the papers are those of `DeltaNetCell`.

    Raises:
      InputError: `heads` does not divide H.
    Reference: Yang, Kautz, Hatamizadeh (2024), "Gated delta networks: improving Mamba2 with delta
    rule".
    """

    scalars = ("beta", "alpha")

    def init(self, key, input_size) -> Any:
        """As for a DeltaNet, with rates exp(decay) uniform between 1 and 16.

        The softplus of the bias of alpha is log-uniform between 0.001 and 0.1.
        """
        key, key_a, key_b = jax.random.split(key, 3)
        shape = (self.heads,)
        rate = jax.random.uniform(key_a, shape, jnp.float32, 1, 16)
        step = jnp.exp(jax.random.uniform(key_b, shape, jnp.float32, jnp.log(1e-3), jnp.log(0.1)))
        params = super().init(key, input_size)
        b_s = params.b_s.at[self.heads :].set(jnp.log(jnp.expm1(step)))
        return GatedDeltaNetParams(params.w_x, params.w_s, b_s, jnp.log(rate))

    def activations(self, params, carry, x_gates, h_gates):
        """The values of q, k, v [..., H], beta and alpha [..., heads]."""
        *_, alpha = self.split(x_gates)
        alpha = jnp.exp(-expand(jnp.exp(params.decay), alpha) * softplus(alpha))
        return *super().activations(params, carry, x_gates, h_gates), alpha
