"""Base class of cells whose state is a matrix for each head, a key-value memory."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import rsqrt

from rnn_jax.cells.array_ops import dot, expand
from rnn_jax.cells.base import GatedCell
from rnn_jax.cells.gate_params import check_key, lecun_normal, per_gate
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Float

EPSILON = 1e-6
"""Added to the squared length of a vector, which may be 0."""


class MatrixCarry(NamedTuple):
    """The output h, and the matrices of all heads flattened into one vector."""

    h: Float[Array, "... H"]
    s: Float[Array, "... K*H"]


class MatrixParams(NamedTuple):
    """Weights of the vector gates, and weights and bias of the scalar gates."""

    w_x: Float[Array, "D V*H"]
    w_s: Float[Array, "D S*heads"]
    b_s: Float[Array, " S*heads"]


@dataclasses.dataclass(frozen=True)
class MatrixCell(GatedCell):
    """A gated cell with a matrix [K, K] for each head as its state, K = H / heads.

    The gates depend on the input alone. Those in `vectors`, such as queries, keys and values, have
    K values per head; those in `scalars` have one. A new cell sets both and defines `update`.

    Carry: h [..., H] and s [..., K*H], the flattened matrices, so that drivers and wrappers need no
    code for them; `matrices` restores their axes. Params: w_x [D, V*H] for V vector gates,
    w_s [D, S*heads], b_s [S*heads] for S scalar gates.

    Attributes:
      heads: the number of matrices, which divides H.

    Raises:
      InputError: `heads` is not a positive integer that divides H.
    """

    heads: int = 1
    vectors: ClassVar[tuple[str, ...]]
    scalars: ClassVar[tuple[str, ...]]
    carry_type: ClassVar[type[NamedTuple]] = MatrixCarry
    elementwise_update = False

    def __post_init__(self):
        super().__post_init__()
        check_size("heads", self.heads)
        if self.hidden_size % self.heads:
            raise InputError(
                f"heads must divide hidden_size = {self.hidden_size}, got {self.heads}."
            )

    @property
    def gates(self) -> tuple[str, ...]:
        """The vector gates, then the scalar gates."""
        return *self.vectors, *self.scalars

    @property
    def head_size(self) -> int:
        """K, the width of the keys and values of a head."""
        return self.hidden_size // self.heads

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the fields of the carry, H first."""
        return self.hidden_size, self.head_size * self.hidden_size

    def init(self, key, input_size) -> Any:
        """w_x LeCun normal, gate by gate, w_s LeCun normal; b_s = 0."""
        check_size("input_size", input_size)
        check_key(key)
        key_x, key_s = jax.random.split(key)
        width = len(self.scalars) * self.heads
        return MatrixParams(
            w_x=per_gate(lecun_normal, key_x, input_size, self.hidden_size, len(self.vectors)),
            w_s=lecun_normal(key_s, (input_size, width)),
            b_s=jnp.zeros(width, jnp.float32),
        )

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        """Zeros."""
        carry_type: Any = self.carry_type
        return carry_type(*(jnp.zeros((*batch_shape, width), dtype) for width in self.widths))

    def project(self, params, xs):
        """The gates of the input: vectors [..., H] and scalars [..., heads], concatenated."""
        scalars = dot(xs, params.w_s)
        scalars = scalars + expand(params.b_s, scalars)
        return jnp.concatenate([dot(xs, params.w_x), scalars], axis=-1)

    def mix(self, params, carry):
        """An array [..., 0]: the gates do not depend on the carry."""
        return carry.h[..., :0]

    def split(self, gates):
        """Split the gates: vectors [..., heads, K], scalars [..., heads]."""
        widths = [self.hidden_size] * len(self.vectors) + [self.heads] * len(self.scalars)
        parts = jnp.split(gates, np.cumsum(widths)[:-1], axis=-1)
        count = len(self.vectors)
        return [*map(self.by_head, parts[:count]), *parts[count:]]

    def by_head(self, vector: Float[Array, "... H"]) -> Float[Array, "... heads K"]:
        """Split a vector into heads."""
        return vector.reshape(*vector.shape[:-1], self.heads, self.head_size)

    def matrices(self, s: Float[Array, "... N"]) -> Float[Array, "... heads K K"]:
        """The matrix of each head, from keys to values: entry i of a key writes to row i."""
        return s.reshape(*s.shape[:-1], self.heads, self.head_size, self.head_size)


def outer(k: Float[Array, "... K"], v: Float[Array, "... V"]) -> Float[Array, "... K V"]:
    """The matrix k v^T.

    Both gradients are matrix-vector products; those of a broadcast multiplication are sums over the
    rows, which XLA's CPU compiler does not vectorize.
    """
    return jnp.einsum("...k,...v->...kv", k, v, precision=jax.lax.Precision.HIGHEST)


def read(s: Float[Array, "... K V"], q: Float[Array, "... K"]) -> Float[Array, "... V"]:
    """s^T q, in full precision on every device."""
    return jnp.einsum("...kv,...k->...v", s, q, precision=jax.lax.Precision.HIGHEST)


def normalized(x: Float[Array, "... K"]) -> Float[Array, "... K"]:
    """x scaled to length 1, or shorter if x is near 0."""
    return x * rsqrt((x * x).sum(-1, keepdims=True) + EPSILON)
