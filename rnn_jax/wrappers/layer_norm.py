"""Layer normalization inside the gates of any gated cell."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.lax import rsqrt

from rnn_jax.cells.array_ops import expand
from rnn_jax.cells.base import GatedCell
from rnn_jax.cells.checks import gate_widths, require_cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Params
from rnn_jax.wrappers.base import GatedWrapper, innermost, on_first_leaf

EPSILON = 1e-6
"""Added to the variance, which is 0 where all units of a gate are equal."""


def layer_norm(cell: GatedCell) -> GatedCell:
    """Layer normalization of x_gates and h_gates, over the H units of each gate.

        x_gates' = x_scale norm(x_gates) + shift      h_gates' = h_scale norm(h_gates)
        norm(a) = (a - mean a) / sqrt(var a + epsilon), gate by gate

    Params: `LayerNormParams`. The shift starts as the inner bias, such as the forget bias, which
    the norm would remove.
    Departs from the paper: each gate is normalized separately, and c of an LSTM is not normalized.

    Raises:
      InputError: `cell` is not a GatedCell, or has gates with a width other than H.
    Reference: Ba, Kiros, Hinton (2016), "Layer normalization".
    """
    require_cell("layer_norm", cell, gated=True)
    widths, wanted = gate_widths(cell), len(cell.gates) * cell.hidden_size
    if widths is not None and widths[0] != wanted:
        raise InputError(
            f"layer_norm needs {len(cell.gates)} gates of H = {cell.hidden_size} units, but "
            f"those of {type(innermost(cell)).__name__} have {widths[0]} values together instead "
            f"of {wanted}; normalize its inputs or outputs instead."
        )
    return LayerNormCell(cell)


class LayerNormParams(NamedTuple):
    """Parameters of the inner cell, and scales and shift of the norms."""

    inner: Params
    x_scale: Float[Array, " G*H"]
    h_scale: Float[Array, " G*H"]
    shift: Float[Array, " G*H"]


class LayerNormCell(GatedWrapper):
    """The cell that `layer_norm` returns."""

    elementwise_update = False

    def init(self, key, input_size):
        """Scales of 1; the inner bias moves to the shift and becomes 0."""
        inner = self.inner.init(key, input_size)
        # Two arrays of ones: a buffer that appears twice cannot be donated.
        x_scale, h_scale = (
            jnp.ones(len(self.gates) * self.hidden_size, jnp.float32) for _ in range(2)
        )
        if getattr(inner, "b", None) is None:
            return LayerNormParams(inner, x_scale, h_scale, jnp.zeros_like(x_scale))
        inner, shift = inner._replace(b=jnp.zeros_like(inner.b)), inner.b
        return LayerNormParams(inner, x_scale, h_scale, shift)

    def inner_params(self, params):
        """The inner cell's parameters."""
        return params.inner

    def with_inner_params(self, params, inner):
        """The same norms with `inner` as the inner parameters."""
        return params._replace(inner=inner)

    def update(self, params, carry, x_gates, h_gates):
        """The inner update of normalized gates."""
        return super().update(params, carry, *self._normed(params, x_gates, h_gates))

    def activations(self, params, carry, x_gates, h_gates):
        """The inner activations of normalized gates."""
        return super().activations(params, carry, *self._normed(params, x_gates, h_gates))

    def coefficients(self, params, x_gates):
        """The inner coefficients of normalized gates."""
        return super().coefficients(params, self._normed_x(params, x_gates))

    def _normed(self, params, x_gates, h_gates):
        if h_gates.shape[-1]:
            h_gates = expand(params.h_scale, h_gates) * self._norm(h_gates)
        return self._normed_x(params, x_gates), h_gates

    def _normed_x(self, params, x_gates):
        def normed(x):
            return expand(params.x_scale, x) * self._norm(x) + expand(params.shift, x)

        return on_first_leaf(normed, x_gates)

    def _norm(self, gates):
        return jnp.concatenate(list(map(_normed, self.split(gates))), axis=-1)


def _normed(a):
    """Normalize the units of a gate to mean 0 and variance 1."""
    a = a - a.mean(-1, keepdims=True)
    return a * rsqrt((a * a).mean(-1, keepdims=True) + EPSILON)
