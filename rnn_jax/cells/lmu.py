"""Legendre memory unit."""

import dataclasses
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.numpy import tanh

from rnn_jax.cells.array_ops import dot, expand
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.gate_params import check_key, lecun_normal, orthogonal
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Float


class LMUCarry(NamedTuple):
    """The hidden state h and the memory m of an LMU."""

    h: Float[Array, "... H"]
    m: Float[Array, "... H"]


class LMUParams(NamedTuple):
    """Parameters of an LMU: encoders e of the memory's input, and kernels w of h."""

    e_x: Float[Array, " D"]
    e_h: Float[Array, " H"]
    e_m: Float[Array, " H"]
    w_x: Float[Array, "D H"]
    w_h: Float[Array, "H H"]
    w_m: Float[Array, "H H"]
    b: Float[Array, " H"]


@dataclasses.dataclass(frozen=True)
class LMUCell(Cell):
    """Legendre memory unit: a linear memory of the last `window` steps, and a nonlinear state.

        u = x e_x + h e_h + m e_m
        m' = m A + u B
        h' = tanh(x w_x + h w_h + m' w_m + b)

    Carry: h, m [..., H]. Params: e_x [D], e_h, e_m [H], w_x [D, H], w_h, w_m [H, H], b [H].
    A [H, H] and B [H] are fixed: m' holds the coefficients of the first H Legendre polynomials that
    fit u over the window (`legendre_memory`), the HiPPO-LegT basis. Departs from the paper: h and m
    have the same size.
    A step takes two products, and the second depends on the first, so this is not a `GatedCell`.

    Args:
      window: the length of the remembered window in steps, theta in the paper.

    Raises:
      InputError: `window` is not a positive number.
    References: Voelker, Kajic, Eliasmith (2019), "Legendre memory units: continuous-time
    representation in recurrent neural networks"; Gu, Dao, Ermon, Rudra, Re (2020), "HiPPO:
    recurrent memory with optimal polynomial projections".
    """

    window: float = 784.0
    carry_type = LMUCarry
    initial_carry = GatedCell.initial_carry
    input_size = GatedCell.input_size

    def __post_init__(self):
        super().__post_init__()
        if not self.window > 0:
            raise InputError(f"window must be a positive number of steps, got {self.window!r}.")

    def init(self, key, input_size):
        """e_x, w_x LeCun normal; w_h orthogonal, w_m LeCun normal; e_h, e_m, b = 0."""
        check_size("input_size", input_size)
        check_key(key)
        key_e, key_x, key_h, key_m = jax.random.split(key, 4)
        size = self.hidden_size
        return LMUParams(
            e_x=lecun_normal(key_e, (input_size, 1))[:, 0],
            e_h=jnp.zeros(size, jnp.float32),
            e_m=jnp.zeros(size, jnp.float32),
            w_x=lecun_normal(key_x, (input_size, size)),
            w_h=orthogonal(key_h, (size, size)),
            w_m=lecun_normal(key_m, (size, size)),
            b=jnp.zeros(size, jnp.float32),
        )

    def step(self, params, carry, x):
        """The equations above."""
        a, b = (
            jnp.asarray(part, carry.m.dtype)
            for part in legendre_memory(self.hidden_size, self.window)
        )
        pairs = (x, params.e_x), (carry.h, params.e_h), (carry.m, params.e_m)
        u = sum(dot(field, encoder[:, None]) for field, encoder in pairs)
        m = dot(carry.m, a) + u * expand(b, carry.m)
        net = dot(x, params.w_x) + dot(carry.h, params.w_h) + dot(m, params.w_m)
        h = tanh(net + expand(params.b, net))
        return LMUCarry(h, m), h


@lru_cache(maxsize=64)
def legendre_memory(count: int, window: float) -> tuple[np.ndarray, np.ndarray]:
    """A and B of an `LMUCell` with `count` polynomials, in float64.

    The delay system of Voelker et al., equation 2, discretized by zero-order hold over one step.
    """
    n = np.arange(count)
    i, j = np.meshgrid(n, n, indexing="ij")
    scale = (2 * n + 1) / window
    continuous = scale[:, None] * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    source = scale * (-1.0) ** n
    # The exponential of the augmented system gives both at once.
    augmented = np.zeros((count + 1, count + 1))
    augmented[:count, :count], augmented[:count, count] = continuous, source
    discrete = exponential(augmented)
    return discrete[:count, :count].T, discrete[:count, count]


def exponential(matrix: np.ndarray) -> np.ndarray:
    """Matrix exponential by scaling and squaring of its Taylor series, in float64."""
    halvings = max(0, int(np.ceil(np.log2(max(np.linalg.norm(matrix, 1), 1.0)))) + 1)
    scaled = matrix / 2.0**halvings
    term = total = np.eye(len(matrix))
    for k in range(1, 20):  # The norm is at most 1/2, so the remainder is below 2^-20 / 20!.
        term = term @ scaled / k
        total = total + term
    return np.linalg.matrix_power(total, 2**halvings)
