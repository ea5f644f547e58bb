"""Checks for the arguments of layers: layers, random streams, dtypes, flags."""

import numbers
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Key


def as_layers(layers: object) -> list:
    """The layers as a list; InputError unless there is at least one and all are time-major."""
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise InputError(f"layers must be a list of layers, got a {type(layers).__name__}.")
    layers = list(layers)
    if not layers:
        raise InputError("layers must hold at least one layer, got none.")
    for n, layer in enumerate(layers):
        kind = layer if isinstance(layer, type) else type(layer)
        if issubclass(kind, Cell):
            raise InputError(
                f"layers[{n}] is the cell {kind.__name__}, which holds no parameters; wrap it in "
                "a layer: RNN(cell, input_size, rngs=rngs)."
            )
        sizes = (getattr(layer, name, None) for name in ("input_size", "output_size"))
        if not all(isinstance(size, numbers.Integral) for size in sizes):
            raise InputError(
                f"layers[{n}] must be a layer with an input_size and an output_size, such as RNN, "
                f"Bidirectional or Stacked; got {described(layer)}."
            )
        if not getattr(layer, "time_major", True):
            raise InputError(
                f"layers[{n}] has time_major=False; layers in a stack are time-major, pass it to "
                "the stack instead: Stacked(layers, time_major=False)."
            )
    return layers


def described(value):
    """A value for an error message: its repr if it is short, otherwise its type."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shown = repr(value)
    return shown if len(shown) <= 40 and "\n" not in shown else f"a {type(value).__name__}"


def check_rngs(rngs: object) -> None:
    """Raise InputError unless `rngs` is an `nnx.Rngs`."""
    if not isinstance(rngs, nnx.Rngs):
        raise InputError(f"rngs must be an nnx.Rngs, e.g. nnx.Rngs(0); got {described(rngs)}.")


def check_flag(name: str, value: object) -> None:
    """Raise InputError unless `value` is a bool."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, got {described(value)}.")


def call_key(key: Key[Array, ""] | None, rngs: nnx.Rngs | None) -> Key[Array, ""] | None:
    """The key of a call: `key`, the next key from the stream "dropout" of `rngs`, or None."""
    if rngs is None:
        return key
    if key is not None:
        raise InputError("key and rngs are both given; pass only one of them.")
    check_rngs(rngs)
    try:
        return rngs.dropout()
    except AttributeError as error:
        raise InputError(
            "rngs must have a stream 'dropout' or a default stream, e.g. nnx.Rngs(dropout=0)."
        ) from error


def floating_dtype(dtype: Any) -> Any:
    """The dtype or None; InputError unless it is a floating-point dtype."""
    if dtype is None:
        return None
    try:
        dtype = jnp.dtype(dtype)
    except TypeError as error:
        raise InputError(
            f"dtype must be a floating-point dtype, e.g. jnp.bfloat16; got {described(dtype)}."
        ) from error
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"dtype must be a floating-point dtype, got {dtype.name}.")
    return dtype
