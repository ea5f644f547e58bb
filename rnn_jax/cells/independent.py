"""Independently recurrent network, whose units do not interact."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import expand
from rnn_jax.cells.base import GatedCell, HiddenCarry
from rnn_jax.cells.elman import ACTIVATIONS, check_activation
from rnn_jax.cells.gate_params import check_key, lecun_normal
from rnn_jax.errors import check_size
from rnn_jax.typing import Array, Float


class IndRNNParams(NamedTuple):
    """Parameters of an `IndRNNCell`."""

    w_x: Float[Array, "D H"]
    u: Float[Array, " H"]
    b: Float[Array, " H"]


@dataclasses.dataclass(frozen=True)
class IndRNNCell(GatedCell):
    """Independently recurrent neural network (IndRNN).

        h' = activation(x w_x + b + u * h)

    Carry: h [..., H]. Params: w_x [D, H], u [H], b [H]. u starts uniform in [0, 1).

    The Jacobian of a step is diagonal. Stacked layers mix the units.

    Args:
      activation: "relu" or "tanh".

    Raises:
      InputError: any other activation.
    Reference: Li, Li, Cook, Zhu, Gao (2018), "Independently recurrent neural network (IndRNN):
    building a longer and deeper RNN". Departure from the paper: u is not clipped during training.
    """

    activation: Literal["relu", "tanh"] = "relu"
    gates = ("h",)
    diagonal_jacobian = True

    def __post_init__(self):
        super().__post_init__()
        check_activation(self.activation)

    def init(self, key, input_size) -> Any:
        """w_x LeCun normal, u uniform in [0, 1), b = 0."""
        check_size("input_size", input_size)
        check_key(key)
        key_x, key_u = jax.random.split(key)
        return IndRNNParams(
            w_x=lecun_normal(key_x, (input_size, self.hidden_size), jnp.float32),
            u=jax.random.uniform(key_u, (self.hidden_size,), jnp.float32),
            b=jnp.zeros(self.hidden_size, jnp.float32),
        )

    def mix(self, params, carry):
        """u * h."""
        return expand(params.u, carry.h) * carry.h

    def update(self, params, carry, x_gates, h_gates):
        """The equation above."""
        return HiddenCarry(h=ACTIVATIONS[self.activation](x_gates + h_gates))
