"""The simple recurrent network."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import GatedCell, GatedParams, HiddenCarry
from rnn_jax.errors import InputError

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


@dataclasses.dataclass(frozen=True)
class RNNCell(GatedCell):
    """Simple recurrent network.

        h' = activation(x w_x + b + h w_h)

    Carry: h [..., H]. Params: w_x [D, H], w_h [H, H], b [H].

    Raises:
      InputError: an activation other than tanh or relu.
    Reference: Elman (1990), "Finding structure in time".
    """

    activation: Literal["tanh", "relu"] = "tanh"
    gates = ("h",)

    def __post_init__(self):
        super().__post_init__()
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation must be 'tanh' or 'relu', got {self.activation!r}.")

    def update(self, params, carry, x_gates, h_gates):
        """The equation above."""
        return HiddenCarry(h=ACTIVATIONS[self.activation](x_gates + h_gates))


@dataclasses.dataclass(frozen=True)
class IRNNCell(RNNCell):
    """Simple recurrent network of rectified linear units that starts as a sum of its inputs.

        h' = relu(x w_x + b + h w_h),   w_h = 1 at the start

    Carry: h [..., H]. Params: w_x [D, H], w_h [H, H], b [H].
    Departs from the paper: w_x starts at a tenth of LeCun normal, not at a deviation of 0.001.

    Reference: Le, Jaitly, Hinton (2015), "A simple way to initialize recurrent networks of
    rectified linear units".
    """

    activation: Literal["tanh", "relu"] = "relu"

    def init(self, key, input_size):
        """w_h the identity, w_x a tenth of LeCun normal, b = 0."""
        w_x, _, b = super().init(key, input_size)
        return GatedParams(0.1 * w_x, jnp.eye(self.hidden_size), b)
