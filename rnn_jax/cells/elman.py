"""The simple recurrent network."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import GatedCell, HiddenCarry
from rnn_jax.cells.gate_params import identity, lecun_normal, orthogonal
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, ArrayInit

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def check_activation(activation: str) -> None:
    """Raise InputError unless `activation` is a name in `ACTIVATIONS`."""
    if activation not in ACTIVATIONS:
        raise InputError(f"activation must be 'relu' or 'tanh', got {activation!r}.")


@dataclasses.dataclass(frozen=True)
class RNNCell(GatedCell):
    """Simple recurrent network.

        h' = activation(x w_x + b + h w_h)

    Carry: h [..., H]. Params: w_x [D, H], w_h [H, H], b [H].

    Args:
      activation: "tanh", "relu" or an elementwise function of an array.
      use_bias: False leaves out b.
      kernel_init, recurrent_init: initializers of w_x and w_h.

    Raises:
      InputError: any other activation.
    Reference: Elman (1990), "Finding structure in time".
    """

    activation: Literal["tanh", "relu"] | Callable[[Array], Array] = "tanh"
    use_bias: bool = True
    kernel_init: ArrayInit = dataclasses.field(default=lecun_normal, repr=False)
    recurrent_init: ArrayInit = dataclasses.field(default=orthogonal, repr=False)
    gates = ("h",)

    def __post_init__(self):
        super().__post_init__()
        if self.activation not in ACTIVATIONS and not callable(self.activation):
            raise InputError(
                f"activation must be 'tanh', 'relu' or a function, got {self.activation!r}."
            )

    def update(self, params, carry, x_gates, h_gates):
        """The equation above."""
        activation: Any = self.activation
        activation = ACTIVATIONS.get(activation, activation)
        return HiddenCarry(h=activation(x_gates + h_gates))


@dataclasses.dataclass(frozen=True)
class IRNNCell(RNNCell):
    """Simple recurrent network of rectified linear units with an identity recurrent matrix.

        h' = relu(x w_x + b + h w_h),   w_h = 1 at initialization

    Carry: h [..., H]. Params: w_x [D, H], w_h [H, H], b [H].
    Departs from the paper: w_x starts at a tenth of LeCun normal, not with a standard deviation of
    0.001.

    Reference: Le, Jaitly, Hinton (2015), "A simple way to initialize recurrent networks of
    rectified linear units".
    """

    activation: Literal["tanh", "relu"] | Callable[[Array], Array] = "relu"
    recurrent_init: ArrayInit = dataclasses.field(default=identity, repr=False)

    def init(self, key, input_size):
        """As for an `RNNCell`, with w_x multiplied by 0.1."""
        params = super().init(key, input_size)
        return params._replace(w_x=0.1 * params.w_x)
