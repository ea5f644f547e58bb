"""The cudnn driver: the LSTM kernels of NVIDIA's cuDNN, on GPUs."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from rnn_jax.cells.base import GatedParams
from rnn_jax.cells.lstm import LSTMCarry, LSTMCell
from rnn_jax.drivers.base import Driver, given_cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float


@dataclasses.dataclass(frozen=True)
class CuDNN(Driver):
    """Run an `LSTMCell` with cuDNN, for full-length sequences, in float32.

    Matrix products follow `jax_default_matmul_precision`: by default they use TF32, with a 10-bit
    mantissa.

    It has not been benchmarked against the other drivers yet, so "auto" does not choose it.

    Reference: Chetlur et al. (2014), "cuDNN: efficient primitives for deep learning".
    """

    name: ClassVar[str] = "cudnn"

    def check(self, cell, steps):
        """Raise InputError unless `cell` is a plain LSTM and the default device is a GPU."""
        if type(cell) is not LSTMCell:
            extras = "" if type(given_cell(cell)) is not LSTMCell else " with masks or resets"
            raise InputError(
                "the cudnn driver needs an LSTMCell without wrappers, masks and resets, got "
                f"{type(given_cell(cell)).__name__}{extras}; use driver='auto'."
            )
        super().check(cell, steps)
        if jax.default_backend() not in ("gpu", "cuda"):
            raise InputError(
                f"the cudnn driver needs an NVIDIA GPU, and the default device is a "
                f"{jax.default_backend().upper()}; use driver='auto'."
            )

    def run(self, cell, params, carry, xs):
        """Run the cell; there is no report."""
        wide = {leaf.dtype.name for leaf in jax.tree.leaves((params, carry, xs))} - {"float32"}
        if wide:
            raise InputError(
                f"the cudnn driver needs float32 params, carry and xs, got {', '.join(wide)}; use "
                "driver='auto'."
            )
        batch, steps, features = carry.h.shape[:-1], xs.shape[0], xs.shape[-1]
        size, count = cell.hidden_size, math.prod(carry.h.shape[:-1])
        h, c = carry.h.reshape(1, count, size), carry.c.reshape(1, count, size)
        results: Any = rnn.lstm(
            jnp.swapaxes(xs.reshape(steps, count, features), 0, 1),
            h,
            c,
            packed(params),
            jnp.full(count, steps, jnp.int32),
            features,
            size,
            1,
            0.0,
            False,
        )
        ys, h, c = results
        carry = LSTMCarry(h=h.reshape(*batch, size), c=c.reshape(*batch, size))
        return carry, jnp.swapaxes(ys, 0, 1).reshape(steps, *batch, size), None


def packed(params: GatedParams) -> Float[Array, " N"]:
    """The parameters of an LSTM in the layout of cuDNN, with a second bias of zeros."""
    b = jnp.zeros(params.w_h.shape[1], params.w_h.dtype) if params.b is None else params.b
    parts = params.w_x.T, params.w_h.T, b, jnp.zeros_like(b)
    return jnp.concatenate([part.ravel() for part in parts])
