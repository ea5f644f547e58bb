"""Conversion from and to the Keras layers `SimpleRNN`, `GRU` (`reset_after=True`) and `LSTM`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells import GRUCell, LSTMCell, RNNCell
from rnn_jax.cells.base import GatedCell, GatedParams
from rnn_jax.errors import InputError
from rnn_jax.interop.pairs import (
    Pair,
    check_compute_dtype,
    check_kind,
    check_options,
    check_pair,
    import_peer,
    one_bias,
    two_biases,
)
from rnn_jax.typing import Array, Float, Params

TRAINING_OPTIONS = [
    f"{weights}_{option}"
    for weights in ("kernel", "recurrent", "bias")
    for option in ("constraint", "regularizer")
]
"""Options of Keras cells that affect the training of the weights."""


def from_keras(layer: Any) -> Pair:
    """Convert a Keras layer, or a Keras cell such as `layer.cell`, to a cell and its parameters.

    Raises:
      InputError: Keras is not installed; an unsupported layer, or one that is not built; an
        activation, dropout, constraint, regularizer or `reset_after=False` that cells here do not
        support; a compute dtype other than that of the weights, as with "mixed_bfloat16"; a layer
        with `go_backwards` or `stateful` (convert its `cell` instead).
    """
    keras = _keras()
    layers, tanh, relu = keras.layers, keras.activations.tanh, keras.activations.relu
    whole = layers.SimpleRNN, layers.GRU, layers.LSTM
    check_kind(layer, (*whole, layers.SimpleRNNCell, layers.GRUCell, layers.LSTMCell))
    if isinstance(layer, whole):
        check_options(layer, go_backwards=(False,), stateful=(False,))
        check_compute_dtype(layer, layer.compute_dtype, layer.variable_dtype)
        layer = layer.cell
    check_options(
        layer, dropout=(0,), recurrent_dropout=(0,), **dict.fromkeys(TRAINING_OPTIONS, (None,))
    )
    check_compute_dtype(layer, layer.compute_dtype, layer.variable_dtype)
    if isinstance(layer, layers.SimpleRNNCell):
        check_options(layer, activation=(tanh, relu))
        cell = RNNCell(layer.units, activation="relu" if layer.activation is relu else "tanh")
    else:
        check_options(layer, activation=(tanh,), recurrent_activation=(keras.activations.sigmoid,))
        kind = GRUCell if isinstance(layer, layers.GRUCell) else LSTMCell
        cell = kind(layer.units)
    if isinstance(cell, GRUCell):
        check_options(layer, reset_after=(True,))
    if not layer.built:
        raise InputError(f"the Keras layer {layer.name!r} has no weights yet; build it first.")
    arrays = [keras.ops.convert_to_numpy(weight.value) for weight in layer.weights]
    return cell, jax.tree.map(jnp.array, _params(cell, *arrays))


def to_keras(
    cell: GatedCell, params: Params, *, return_sequences: bool = False, return_state: bool = False
) -> object:
    """Convert a cell and its parameters to a built Keras layer.

    Args:
      cell: an `RNNCell`, `GRUCell` or `LSTMCell`.
      params: its parameters.
      return_sequences, return_state: arguments of the Keras layer.

    Raises:
      InputError: Keras is not installed or has no such cell; params of another cell.
    """
    layers = _keras().layers
    check_pair(cell, params)
    options: dict[str, Any] = {"return_sequences": return_sequences, "return_state": return_state}
    if isinstance(cell, RNNCell):
        options["activation"] = cell.activation
    kind = {RNNCell: layers.SimpleRNN, GRUCell: layers.GRU, LSTMCell: layers.LSTM}[type(cell)]
    layer = kind(cell.hidden_size, dtype=params.w_x.dtype.name, **options)
    layer.build((None, None, params.w_x.shape[0]))
    layer.set_weights([np.asarray(array) for array in keras_weights(cell, params)])
    return layer


def keras_weights(cell: GatedCell, params: Params) -> list[Float[Array, "..."]]:
    """Keras weights of a cell, linear in `params`.

    Returns:
      kernel [D, G*H], recurrent_kernel [H, G*H] and bias [G*H], [2, 3*H] for a GRU. The gates of a
      Keras GRU are in the order z, r, n.
    """
    if not isinstance(cell, GRUCell):
        return [params.w_x, params.w_h, params.b]
    bias = jnp.stack(two_biases(cell, params))
    return [_swap(array, jnp) for array in (params.w_x, params.w_h, bias)]


def _params(cell, w_x, w_h, bias=None):
    """The inverse of `keras_weights`, in NumPy; a missing bias becomes zeros."""
    if not isinstance(cell, GRUCell):
        return GatedParams(w_x, w_h, np.zeros_like(w_x[0]) if bias is None else bias)
    bias = np.zeros_like(w_x[:1]).repeat(2, axis=0) if bias is None else bias
    return one_bias(cell, *(_swap(array, np) for array in (w_x, w_h, *bias)))


def _swap(gates, numpy):
    """Swap the first two of three gates."""
    first, second, third = numpy.split(gates, 3, axis=-1)
    return numpy.concatenate([second, first, third], axis=-1)


def _keras():
    return import_peer(
        "keras", "install it with `pip install keras` and set KERAS_BACKEND=jax before it starts"
    )
