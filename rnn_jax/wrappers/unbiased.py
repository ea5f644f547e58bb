"""A cell without a bias."""

import jax.numpy as jnp

from rnn_jax.cells.base import GatedCell
from rnn_jax.cells.checks import has_param, require_cell
from rnn_jax.errors import InputError
from rnn_jax.wrappers.base import GatedWrapper


def unbiased(cell: GatedCell) -> GatedCell:
    """The cell without the bias b: `params.b` is None, so there is no forget bias either.

    For `RNNCell`, `LSTMCell` and `GRUCell`, see also `use_bias=False`.

    Raises:
      InputError: `cell` is not a GatedCell, or its params have no b.
    """
    require_cell("unbiased", cell, gated=True)
    if not has_param(cell, "b"):
        raise InputError(
            f"unbiased needs params with b, but those of {type(cell).__name__} have none; apply "
            "it before layer_norm and learned_carry, directly to a cell with a bias."
        )
    return UnbiasedCell(cell)


class UnbiasedCell(GatedWrapper):
    """The cell that `unbiased` returns."""

    def init(self, key, input_size):
        """The inner parameters without b."""
        params = self.inner.init(key, input_size)
        return params._replace(b=None)

    def inner_params(self, params):
        """The inner parameters with b = 0."""
        zeros = jnp.zeros(len(self.gates) * self.hidden_size, params.w_x.dtype)
        return params._replace(b=zeros)

    def with_inner_params(self, params, inner):
        """The inner parameters without b."""
        return inner._replace(b=None)

    def sampled(self, params, xs, key):
        """The inner cell with b = 0."""
        return self.inner.sampled(self.inner_params(params), xs, key)
