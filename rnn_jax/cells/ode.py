"""Cells that discretize differential equations."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.numpy import tanh

from rnn_jax.cells.array_ops import dot
from rnn_jax.cells.base import GatedCell, GatedParams, HiddenCarry
from rnn_jax.cells.gate_params import lecun_normal
from rnn_jax.typing import Array, Float


@dataclasses.dataclass(frozen=True)
class AntisymmetricRNNCell(GatedCell):
    """Antisymmetric recurrent network: an Euler step of a stable differential equation.

        h' = h + step_size tanh(x w_x + b + h (w_h - w_h^T) - damping h)

    Carry: h [..., H]. Params: w_x [D, H], w_h [H, H], b [H].

    Reference: Chang, Chen, Haber, Chi (2019), "AntisymmetricRNN: a dynamical system view on
    recurrent neural networks".
    """

    step_size: float = 0.1
    damping: float = 0.01
    gates = ("h",)

    def mix(self, params, carry):
        """`h (w_h - w_h^T) - damping h`."""
        return dot(carry.h, params.w_h - params.w_h.T) - self.damping * carry.h

    def update(self, params, carry, x_gates, h_gates):
        """The equation above."""
        return HiddenCarry(h=carry.h + self.step_size * tanh(x_gates + h_gates))


class OscillatorCarry(NamedTuple):
    """Positions h and velocities v of a network of oscillators."""

    h: Float[Array, "... H"]
    v: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class CoRNNCell(GatedCell):
    """Coupled oscillatory recurrent network.

        v' = v + step_size (tanh(x w_x + b + [h, v] w_h) - stiffness h - damping v)
        h' = h + step_size v'

    Carry: h, v [..., H]. Params: w_x [D, H], w_h [2H, H], b [H].
    This is the variant in the paper whose damping uses the old velocity.

    Reference: Rusch, Mishra (2021), "Coupled oscillatory recurrent neural network (coRNN): an
    accurate and (gradient) stable architecture for learning long time dependencies".
    """

    step_size: float = 0.1
    stiffness: float = 1.0
    damping: float = 1.0
    gates = ("h",)
    carry_type = OscillatorCarry

    def init(self, key, input_size):
        """As for every gated cell, except that w_h is LeCun normal."""
        key, key_h = jax.random.split(key)
        w_x, _, b = super().init(key, input_size)
        w_h = lecun_normal(key_h, (2 * self.hidden_size, self.hidden_size), jnp.float32)
        return GatedParams(w_x, w_h, b)

    def mix(self, params, carry):
        """`[h, v] w_h`."""
        return dot(jnp.concatenate(carry, axis=-1), params.w_h)

    def update(self, params, carry, x_gates, h_gates):
        """The equations above."""
        force = tanh(x_gates + h_gates) - self.stiffness * carry.h - self.damping * carry.v
        v = carry.v + self.step_size * force
        return OscillatorCarry(h=carry.h + self.step_size * v, v=v)
