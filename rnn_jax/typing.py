"""Array types, and the letters that stand for dimensions.

    T   time steps              D   input features
    B   batch                   H   hidden units
    G   gates of a cell         N   examples in a data set
    K   steps in a chunk        C   classes
    S   steps of a source
    GH  the concatenated gates, G*H wide
    O   output features of a cell, H for most

`...` at the front of a shape stands for any number of batch dimensions. A plural (`xs`, `ys`,
`carries`) has a leading time axis: arrays are time-major.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Bool, Float, Inexact, Int, Integer, Key, Shaped

Params = Any
"""The parameters of a cell: a pytree of arrays, usually a NamedTuple."""

Carry = Any
"""The state that a cell carries from step to step: a NamedTuple of arrays [..., N], h first."""

Inputs = Any
"""x [..., D] or xs [T, ..., D]; some wrappers take it in a tuple with masks or noise."""

Data = Any
"""A pytree of arrays with one example, or one row of a batch, for each index of axis 0."""

ArrayInit = Callable[..., Array]
"""An initializer of one array, `(key, shape, dtype) -> array`, as in `jax.nn.initializers`."""

__all__ = [
    "Array",
    "ArrayInit",
    "Bool",
    "Carry",
    "Data",
    "Float",
    "Inexact",
    "Inputs",
    "Int",
    "Integer",
    "Key",
    "Params",
    "Shaped",
]
