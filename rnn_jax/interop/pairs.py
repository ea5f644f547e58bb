"""Shared converter code: checks of layers, cells and parameters, and conversion of biases."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells import GRUCell, GRUParams, LSTMCell, RNNCell
from rnn_jax.cells.base import GatedCell, GatedParams
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Params

Pair = tuple[GatedCell, Params]
"""A cell and its parameters."""


def import_peer(name: str, advice: str) -> ModuleType:
    """Import an optional library; InputError with `advice` if it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f"{name} cannot be imported ({error}); {advice}.") from error


def check_kind(source: object, kinds: Iterable[type]) -> None:
    """Raise InputError unless the type of `source` is one of `kinds`; subclasses do not count."""
    kinds = list(kinds)
    if type(source) not in kinds:
        names, got = [kind.__name__ for kind in kinds], type(source).__name__
        if got in names:
            names, got = [_full_name(kind) for kind in kinds], _full_name(type(source))
        raise InputError(f"expected one of {', '.join(names)}, got {got}.")


def _full_name(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def check_options(source: object, **allowed: tuple) -> None:
    """Raise InputError if an attribute of `source` is not one of the supported values."""
    for name, values in allowed.items():
        got = getattr(source, name)
        if got not in values:
            wanted = " or ".join(map(_shown, values))
            raise InputError(
                f"{type(source).__name__} has {name}={_shown(got)}, which no cell here supports; "
                f"only {name}={wanted} can be converted."
            )


def check_compute_dtype(source: object, compute: Any, stored: Any) -> None:
    """Raise InputError if a layer computes in a dtype other than that of its weights."""
    compute, stored = jnp.dtype(compute).name, jnp.dtype(stored).name
    if compute != stored:
        raise InputError(
            f"{type(source).__name__} computes gates and state in {compute} and has weights in "
            f"{stored}, which no cell here supports; convert it with {stored} as its compute "
            "dtype, and set the dtype of matrix products with RNN(dtype=...)."
        )


def check_pair(cell: Any, params: Params) -> None:
    """Raise InputError unless the cell can be converted and `params` fit it, all of one dtype."""
    check_kind(cell, (RNNCell, GRUCell, LSTMCell))
    if not cell.use_bias:
        raise InputError(
            f"{cell} has no bias, and the layers of the other library have one; use a cell with "
            "use_bias=True and b = 0 in its params."
        )
    if isinstance(cell, RNNCell) and callable(cell.activation):
        raise InputError(f"{cell} has a function as activation; only 'tanh' and 'relu' transfer.")
    rows = getattr(getattr(params, "w_x", None), "shape", None) or (1,)
    expected = jax.eval_shape(lambda: cell.init(jax.random.key(0), rows[0]))
    wanted, got = (
        (type(tree).__name__, [np.shape(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (expected, params)
    )
    if wanted != got:
        raise InputError(
            f"{cell} needs {wanted[0]} of shapes {wanted[1]}, got {got[0]} of {got[1]}."
        )
    dtypes = {np.dtype(leaf.dtype).name for leaf in jax.tree.leaves(params)}
    if len(dtypes) > 1:
        raise InputError(
            f"params must have one dtype to be converted, got {sorted(dtypes)}; cast "
            "them, e.g. jax.tree.map(lambda p: p.astype('float32'), params)."
        )


def one_bias(
    cell: GatedCell, w_x: np.ndarray, w_h: np.ndarray, b_x: np.ndarray, b_h: np.ndarray
) -> Params:
    """Parameters of a cell from those of a layer with two biases, x w_x + b_x and h w_h + b_h.

    The bias b is their sum, except for gate n of a GRU, where the reset gate multiplies b_h.
    """
    if not isinstance(cell, GRUCell):
        return GatedParams(*map(jnp.asarray, (w_x, w_h, b_x + b_h)))
    apart = np.arange(len(b_x)) >= 2 * cell.hidden_size
    parts = w_x, w_h, np.where(apart, b_x, b_x + b_h), b_h[apart]
    return GRUParams(*map(jnp.asarray, parts))


def two_biases(cell: GatedCell, params: Params) -> tuple[Float[Array, " GH"], Float[Array, " GH"]]:
    """The b_x and b_h of `one_bias`; b_h is zero except for gate n of a GRU."""
    if not isinstance(cell, GRUCell):
        return params.b, jnp.zeros_like(params.b)
    return params.b, jnp.pad(params.b_h, (2 * cell.hidden_size, 0))


def _shown(value):
    return getattr(value, "__name__", None) or repr(value)
