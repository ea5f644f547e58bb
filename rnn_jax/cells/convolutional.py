"""Long short-term memory over pictures."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal

from rnn_jax.cell import GatedParams
from rnn_jax.cells.lstm import LSTMCell
from rnn_jax.errors import InputError, check_size
from rnn_jax.initializers import check_key, gate_bias
from rnn_jax.typing import Array, Float


def convolve(x: Float[Array, "... D"], w: Float[Array, "K K D N"]) -> Float[Array, "... N"]:
    """x [..., height, width, D] convolved with w, zeros beyond the edge: [..., height, width, N].

    Rounded to the dtype of w where that is narrower, and summed in float32 or wider.
    """
    wide = jnp.promote_types(jnp.promote_types(x.dtype, w.dtype), jnp.float32)
    pictures = x.astype(w.dtype).astype(wide).reshape(-1, *x.shape[-3:])
    y = jax.lax.conv_general_dilated(
        pictures, w.astype(wide), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y.reshape(*x.shape[:-1], w.shape[-1])


@dataclasses.dataclass(frozen=True)
class ConvLSTMCell(LSTMCell):
    """Convolutional LSTM over pictures [..., height, width, D], gates in the order i, f, g, o.

        i, f, o = sigmoid(x * w_x + b + h * w_h)      g = tanh(x * w_x + b + h * w_h)
        c' = f c + i g
        h' = o tanh(c')            where * is convolution, at every place

    Carry: h, c [..., height, width, H], H the channels. Params: w_x [K, K, D, 4H],
    w_h [K, K, H, 4H], b [4H]. There are no peepholes.

    Raises:
      InputError: a kernel_size that is not a positive odd number.
    Reference: Shi, Chen, Wang, Yeung, Wong, Woo (2015), "Convolutional LSTM network: a machine
    learning approach for precipitation nowcasting".
    """

    kernel_size: int = 3
    spatial_axes = 2

    def __post_init__(self):
        super().__post_init__()
        check_size("kernel_size", self.kernel_size)
        if self.kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, got {self.kernel_size}.")

    def init(self, key, input_size):
        """Kernels LeCun normal; b as in an LSTM."""
        check_size("input_size", input_size)
        check_key(key)
        size, sides = self.hidden_size, (self.kernel_size, self.kernel_size)
        keys = jax.random.split(key)
        w_x, w_h = (
            lecun_normal()(k, (*sides, rows, 4 * size), jnp.float32)
            for k, rows in zip(keys, (input_size, size), strict=True)
        )
        params = GatedParams(w_x, w_h, jnp.zeros(4 * size, jnp.float32))
        return gate_bias(self, params, "f", self.forget_bias)

    def project(self, params, xs):
        """`x * w_x + b`."""
        return convolve(xs, params.w_x) + params.b

    def mix(self, params, carry):
        """`h * w_h`."""
        return convolve(carry.h, params.w_h)
