"""Convolutional LSTM."""

import dataclasses

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import expand, explicitly_sharded, widest
from rnn_jax.cells.base import GatedParams
from rnn_jax.cells.gate_params import check_key, gate_bias, lecun_normal
from rnn_jax.cells.lstm import LSTMCell
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, ArrayInit, Float


def convolve(x: Float[Array, "... D"], w: Float[Array, "*K D N"]) -> Float[Array, "... N"]:
    """Convolve x [..., *space, D] with w [*K, D, N], with zero padding: [..., *space, N].

    There are one to three spatial axes. x is rounded to the dtype of w, and sums are accumulated in
    float32 or wider.
    """
    if x.ndim > w.ndim and explicitly_sharded(x):
        return jax.lax.map(lambda part: convolve(part, w), x)  # Sharded axes cannot be merged.
    wide = widest(x.dtype, w.dtype, jnp.float32)
    places = "HWX"[: w.ndim - 2]
    rows = x.astype(w.dtype).astype(wide)
    if x.ndim != w.ndim:
        rows = rows.reshape(-1, *x.shape[1 - w.ndim :])
    letters = f"N{places}C", f"{places}IO", f"N{places}C"
    strides = (1,) * len(places)
    y = jax.lax.conv_general_dilated(
        rows, w.astype(wide), strides, "SAME", dimension_numbers=letters
    )
    return y if x.ndim == w.ndim else y.reshape(*x.shape[:-1], w.shape[-1])


@dataclasses.dataclass(frozen=True)
class ConvLSTMCell(LSTMCell):
    """Convolutional LSTM over images [..., height, width, D], gates in the order i, f, g, o.

        i, f, o = sigmoid(x * w_x + b + h * w_h)      g = tanh(x * w_x + b + h * w_h)
        c' = f c + i g
        h' = o tanh(c')            where * is convolution

    Carry: h, c [..., height, width, H] with H channels. Params: w_x [K, K, D, 4H],
    w_h [K, K, H, 4H], b [4H], with K = `kernel_size`. With `spatial_axes` = 1 or 3, the inputs are
    lines or volumes.
    Departs from the paper: there are no peepholes.

    Raises:
      InputError: kernel_size is not a positive odd number, or spatial_axes is not 1, 2 or 3.
    Reference: Shi, Chen, Wang, Yeung, Wong, Woo (2015), "Convolutional LSTM network: a machine
    learning approach for precipitation nowcasting".
    """

    recurrent_init: ArrayInit = dataclasses.field(default=lecun_normal, repr=False)
    kernel_size: int = 3
    spatial_axes: int = 2

    def __post_init__(self):
        super().__post_init__()
        check_size("kernel_size", self.kernel_size)
        if self.kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, got {self.kernel_size}.")
        if self.spatial_axes not in (1, 2, 3):
            raise InputError(f"spatial_axes must be 1, 2 or 3, got {self.spatial_axes!r}.")

    def init(self, key, input_size):
        """w_x from `kernel_init`, w_h from `recurrent_init`, all gates at once; b as in an LSTM."""
        check_size("input_size", input_size)
        check_key(key)
        size, sides = self.hidden_size, (self.kernel_size,) * self.spatial_axes
        key_x, key_h = jax.random.split(key)
        w_x = self.kernel_init(key_x, (*sides, input_size, 4 * size), jnp.float32)
        w_h = self.recurrent_init(key_h, (*sides, size, 4 * size), jnp.float32)
        if not self.use_bias:
            return GatedParams(w_x, w_h, None)
        params = GatedParams(w_x, w_h, jnp.zeros(4 * size, jnp.float32))
        return gate_bias(self, params, "f", self.forget_bias)

    def project(self, params, xs):
        """`x * w_x + b`."""
        gates = convolve(xs, params.w_x)
        return gates if params.b is None else gates + expand(params.b, gates)

    def mix(self, params, carry):
        """`h * w_h`."""
        return convolve(carry.h, params.w_h)
