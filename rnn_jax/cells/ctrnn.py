"""Continuous-time recurrent network, as trained in neuroscience."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import dot
from rnn_jax.cells.base import GatedCell, HiddenCarry
from rnn_jax.cells.elman import ACTIVATIONS, check_activation
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Inputs


class NoisyInputs(NamedTuple):
    """Inputs, and the noise of each unit at each step."""

    x: Inputs
    noise: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class CTRNNCell(GatedCell):
    """Continuous-time recurrent network: an Euler step of a leaky network of firing rates.

        r = activation(h)
        h' = (1 - leak) h + leak (x w_x + b + r w_h) + sqrt(2 leak) noise ε
        y = activation(h')

    Carry: h [..., H], the potentials. Params: w_x [D, H], w_h [H, H], b [H]. Outputs: rates.
    ε is standard normal in a run with a key, and 0 without one.

    With `excitatory`, Dale's law holds: this fraction of the units, the first ones, is excitatory
    and the rest are inhibitory. Row n of the recurrent matrix is then |w_h[n]| with the sign of
    unit n, and inhibitory rows are initialized larger so that the two balance.

    Args:
      leak: step size divided by time constant, Δt/τ, in (0, 1].
      noise: standard deviation σ of the noise of a unit.
      excitatory: the fraction of excitatory units, in (0, 1), or None for weights of any sign.
      activation: "relu" or "tanh".

    Raises:
      InputError: an argument out of range.
    Reference: Song, Yang, Wang (2016), "Training excitatory-inhibitory recurrent neural networks
    for cognitive tasks: a simple and flexible framework".
    """

    leak: float = 0.2
    noise: float = 0.0
    excitatory: float | None = None
    activation: Literal["relu", "tanh"] = "relu"
    gates = ("h",)

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.leak <= 1:
            raise InputError(f"leak must be above 0 and at most 1, got {self.leak!r}.")
        if not self.noise >= 0:
            raise InputError(f"noise must be at least 0, got {self.noise!r}.")
        if self.excitatory is not None and not 0 < self.excitatory < 1:
            raise InputError(
                f"excitatory must be a share between 0 and 1, or None, got {self.excitatory!r}."
            )
        check_activation(self.activation)

    def init(self, key, input_size):
        """As for every gated cell; with Dale's law, rows are scaled so that the signs balance."""
        params = super().init(key, input_size)
        if self.excitatory is None:
            return params
        share = self._excitatory_units() / self.hidden_size
        scale = jnp.where(self.signs() > 0, 1.0, share / max(1 - share, 1e-6))
        return params._replace(w_h=params.w_h * scale[:, None])

    def sampled(self, params, xs, key):
        """The inputs together with the noise of each unit at each step."""
        if key is None or not self.noise:
            return self, params, xs
        shape = *xs.shape[:-1], self.hidden_size
        return self, params, NoisyInputs(xs, jax.random.normal(key, shape, xs.dtype))

    def project(self, params, xs):
        """The input's contribution to the gate, and the noise."""
        if not isinstance(xs, NoisyInputs):
            return super().project(params, xs)
        return NoisyInputs(super().project(params, xs.x), xs.noise)

    def mix(self, params, carry):
        """`r w_h`, with the signs of Dale's law."""
        w_h = params.w_h
        if self.excitatory is not None:
            w_h = jnp.abs(w_h) * self.signs(w_h.dtype)[:, None]
        return dot(self._rates(carry), w_h)

    def update(self, params, carry, x_gates, h_gates):
        """The equation above."""
        noise = 0.0
        if isinstance(x_gates, NoisyInputs):
            noise = (2 * self.leak) ** 0.5 * self.noise * x_gates.noise
            x_gates = x_gates.x
        return HiddenCarry(h=(1 - self.leak) * carry.h + self.leak * (x_gates + h_gates) + noise)

    def readout(self, params, carry):
        """The rates."""
        return self._rates(carry)

    def signs(self, dtype=jnp.float32) -> Float[Array, " H"]:
        """1 for excitatory units, -1 for inhibitory ones."""
        return jnp.where(jnp.arange(self.hidden_size) < self._excitatory_units(), 1, -1).astype(
            dtype
        )

    def _excitatory_units(self):
        return round((self.excitatory or 1.0) * self.hidden_size)

    def _rates(self, carry):
        return ACTIVATIONS[self.activation](carry.h)
