"""Conversion from and to `torch.nn.RNN`, `GRU` and `LSTM`, including stacked and bidirectional."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells import GRUCell, LSTMCell, RNNCell
from rnn_jax.cells.base import GatedCell
from rnn_jax.errors import InputError
from rnn_jax.interop.pairs import (
    Pair,
    check_kind,
    check_options,
    check_pair,
    import_peer,
    one_bias,
    two_biases,
)
from rnn_jax.typing import Array, Float, Params

DIRECTIONS = ("", "_reverse")
"""Suffixes of the weights of each direction in PyTorch."""


def from_torch(layer: Any) -> list[list[Pair]]:
    """Convert a PyTorch layer to cells and their parameters, `pairs[layer][direction]`.

    The second direction runs backward in time; a deeper layer reads the concatenated outputs of all
    directions. For one layer and direction: `[[(cell, params)]] = from_torch(layer)`. The layout
    `batch_first` is not part of the result.

    Raises:
      InputError: PyTorch is not installed; an unsupported layer; `proj_size` or `dropout` is set.
    """
    torch = _torch()
    check_kind(layer, _kinds(torch).values())
    check_options(layer, proj_size=(0,), dropout=(0,))
    if isinstance(layer, torch.nn.RNN):
        cell = RNNCell(layer.hidden_size, activation=layer.nonlinearity)
    else:
        kind = GRUCell if isinstance(layer, torch.nn.GRU) else LSTMCell
        cell = kind(layer.hidden_size)
    directions = DIRECTIONS[: 1 + layer.bidirectional]
    return [
        [(cell, _params(cell, layer, f"l{depth}{direction}")) for direction in directions]
        for depth in range(layer.num_layers)
    ]


def to_torch(pairs: list[list[Pair]], *, batch_first: bool = False) -> object:
    """Convert `pairs[layer][direction]` to a PyTorch layer, the inverse of `from_torch`.

    The first bias of PyTorch is b; the second is zero except for the b_h of a GRU.

    Raises:
      InputError: PyTorch is not installed or has no such cell; pairs that do not match.
    """
    torch = _torch()
    _check_stack(pairs)
    cell, params = pairs[0][0]
    layer = _kinds(torch)[type(cell)](
        params.w_x.shape[0],
        cell.hidden_size,
        num_layers=len(pairs),
        bidirectional=len(pairs[0]) == 2,
        batch_first=batch_first,
        dtype=getattr(torch, params.w_x.dtype.name),
        **({"nonlinearity": cell.activation} if isinstance(cell, RNNCell) else {}),
    )
    flat = [array for row in pairs for pair in row for array in torch_weights(*pair)]
    with torch.no_grad():
        for parameter, array in zip(layer.parameters(), flat, strict=True):
            parameter.copy_(torch.tensor(np.asarray(array, np.float64)))
    return layer


def torch_weights(cell: GatedCell, params: Params) -> tuple[Float[Array, "..."], ...]:
    """PyTorch weights of a cell, linear in `params`.

    Returns:
      weight_ih [G*H, D], weight_hh [G*H, H], bias_ih [G*H] and bias_hh [G*H].
    """
    return params.w_x.T, params.w_h.T, *two_biases(cell, params)


def _torch():
    return import_peer("torch", "install it with `pip install torch`")


def _kinds(torch):
    return {RNNCell: torch.nn.RNN, GRUCell: torch.nn.GRU, LSTMCell: torch.nn.LSTM}


def _params(cell, layer, name):
    """The parameters of one direction of one layer, in their PyTorch dtype."""

    def array(part):
        return getattr(layer, f"{part}_{name}").detach().cpu().double().numpy()

    w_x, w_h = array("weight_ih").T, array("weight_hh").T
    zeros = np.zeros(w_x.shape[1])
    biases = (array("bias_ih"), array("bias_hh")) if layer.bias else (zeros, zeros)
    dtype = str(layer.weight_ih_l0.dtype).removeprefix("torch.")
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype), one_bias(cell, w_x, w_h, *biases))


def _check_stack(pairs):
    """Raise InputError unless all pairs have the same cell and matching sizes."""
    try:
        cells = [[cell for cell, _ in row] for row in pairs]
    except (TypeError, ValueError):
        cells = []
    if {len(row) for row in cells} not in ({1}, {2}):
        raise InputError(
            "to_torch expects pairs[layer][direction] with 1 or 2 directions in every layer; "
            "pass [[(cell, params)]] for one layer and direction."
        )
    first, params = pairs[0][0]
    check_pair(first, params)
    size, dtype = params.w_x.shape[0], params.w_x.dtype
    for depth, row in enumerate(pairs):
        for cell, params in row:
            check_pair(cell, params)
            got = cell, params.w_x.shape[0], params.w_x.dtype
            if got != (first, size, dtype):
                raise InputError(
                    f"layer {depth} must have cells {first} with D = {size} in {dtype}, as all "
                    "cells of a PyTorch layer are equal; got {} with D = {} in {}.".format(*got)
                )
        size = len(row) * first.hidden_size
