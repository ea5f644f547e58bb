"""Conversion from and to the cells of Flax linen."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rnn_jax.cells import GRUCell, GRUParams, LSTMCell, RNNCell
from rnn_jax.cells.base import GatedCell, GatedParams
from rnn_jax.errors import InputError
from rnn_jax.interop.pairs import (
    Pair,
    check_compute_dtype,
    check_kind,
    check_options,
    check_pair,
)
from rnn_jax.typing import Array, Params

KINDS = {
    nn.SimpleCell: RNNCell,
    nn.GRUCell: GRUCell,
    nn.LSTMCell: LSTMCell,
    nn.OptimizedLSTMCell: LSTMCell,
}


def from_linen(module: nn.Module, params: Params) -> Pair:
    """Convert a linen cell to a cell and its parameters.

    Args:
      module: the linen cell.
      params: its `variables["params"]`; within `nn.RNN`, `variables["params"]["cell"]`.

    Raises:
      InputError: an unsupported module; an activation, a residual or an initial carry that cells
        here do not support; a dtype other than that of the params; params of another module.
    """
    check_kind(module, KINDS)
    check_options(module, carry_init=(nn.initializers.zeros,))
    if isinstance(module, nn.SimpleCell):
        check_options(module, activation_fn=(nn.tanh, nn.relu), residual=(False,))
        activation = "relu" if module.activation_fn is nn.relu else "tanh"
        cell = RNNCell(module.features, activation=activation)
    else:
        check_options(module, activation_fn=(nn.tanh,), gate_fn=(nn.sigmoid,))
        cell = KINDS[type(module)](module.features)
    x_names, h_names, biased = _names(cell)

    def joined(names, leaf):
        return jnp.concatenate([params[name][leaf] for name in names], axis=-1)

    try:
        ours = joined(x_names, "kernel"), joined(h_names, "kernel"), joined(biased, "bias")
        gru = isinstance(cell, GRUCell)
        ours = GRUParams(*ours, b_h=params["hn"]["bias"]) if gru else GatedParams(*ours)
    except KeyError as error:
        raise InputError(
            f"params of {type(module).__name__} must have {', '.join(x_names + h_names)}, got none "
            f"of name {error}; pass variables['params'] of the linen cell."
        ) from error
    check_pair(cell, ours)
    if module.dtype is not None:
        check_compute_dtype(module, module.dtype, ours.w_x.dtype)
        return cell, ours
    # Without a dtype, linen promotes weights and inputs; a cell computes in the weights' dtype.
    wide = jnp.promote_types(ours.w_x.dtype, jnp.float32)
    return cell, jax.tree.map(lambda leaf: leaf.astype(wide), ours)


def to_linen(cell: GatedCell, params: Params) -> tuple[nn.RNNCellBase, dict[str, dict[str, Array]]]:
    """Convert a cell and its parameters to a linen cell and its params.

    The result is used as `module.apply({"params": params}, carry, x)`. It is linear in `params` and
    differentiable. The carry of a linen LSTM is (c, h); that of other cells is h.

    Raises:
      InputError: a cell that linen does not have; params of another cell.
    """
    check_pair(cell, params)
    x_names, h_names, biased = _names(cell)
    kernels = [*cell.split(params.w_x), *cell.split(params.w_h)]
    theirs = {
        name: {"kernel": kernel} for name, kernel in zip(x_names + h_names, kernels, strict=True)
    }
    for name, bias in zip(biased, cell.split(params.b), strict=True):
        theirs[name]["bias"] = bias
    if isinstance(cell, GRUCell):
        theirs["hn"]["bias"] = params.b_h
    dtype, options = params.w_x.dtype, {}
    if dtype != jnp.promote_types(dtype, jnp.float32):
        options = {"dtype": dtype, "param_dtype": dtype}
    if isinstance(cell, RNNCell):
        activation = nn.relu if cell.activation == "relu" else nn.tanh
        return nn.SimpleCell(cell.hidden_size, activation_fn=activation, **options), theirs
    kind = nn.GRUCell if isinstance(cell, GRUCell) else nn.OptimizedLSTMCell
    return kind(cell.hidden_size, **options), theirs


def _names(cell):
    """Names in linen of the products with x, of those with h, and of those with the bias b."""
    if isinstance(cell, RNNCell):
        return ["i"], ["h"], ["i"]
    x_names, h_names = ([f"{side}{gate}" for gate in cell.gates] for side in "ih")
    return x_names, h_names, h_names if isinstance(cell, LSTMCell) else x_names
