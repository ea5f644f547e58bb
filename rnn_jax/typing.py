"""Array types, and the only legend of the letters that stand for dimensions.

    T   time steps              D   input features
    B   batch                   H   hidden units
    G   gates of a cell         N   examples in a data set
    K   steps in a chunk        C   classes
    S   steps of a source
    GH  the gates side by side, G*H wide
    O   output features of a cell, H for most

`...` in front of a shape stands for any batch dimensions, none included. A plural (`xs`, `ys`,
`carries`) has a leading time axis: everything past `data.py` is time-major.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Bool, Float, Inexact, Int, Integer, Key, Shaped

Params = Any
"""A pytree of arrays, by custom a NamedTuple: what a cell's `init` returns."""

Carry = Any
"""A NamedTuple of arrays [..., H]: what a cell hands from one time step to the next."""

Inputs = Any
"""x [..., D] or xs [T, ..., D]; a cell around a cell may take it together with masks and noise."""

Data = Any
"""A pytree of arrays that have one example, or one row of a batch, for each index of axis 0."""

ArrayInit = Callable[..., Array]
"""An initializer of one array, `(key, shape, dtype) -> array`, as in `jax.nn.initializers`."""

Memory = Any
"""A pytree of arrays [B, ...]: what one training step hands to the next; mostly an empty tuple."""

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
    "Memory",
    "Params",
    "Shaped",
]
