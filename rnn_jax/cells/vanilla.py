"""The simple recurrent network."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from rnn_jax.cell import GatedCell, HiddenCarry
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
