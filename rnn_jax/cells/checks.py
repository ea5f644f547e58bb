"""Checks for arguments that are cells or cell parameters."""

import inspect
import os
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.linear_cell import LinearCell
from rnn_jax.errors import InputError
from rnn_jax.typing import Params

REQUIRED = {
    Cell: ("init", "initial_carry", "step"),
    GatedCell: ("gates", "update"),
    LinearCell: ("coefficients",),
}
"""The attributes that a subclass of each base class must define."""


def require_cell(
    caller: str, cell: object, *, gated: bool = False, has_params: bool = False
) -> None:
    """Raise InputError unless `cell` is a complete `Cell`, and a `GatedCell` if `gated`.

    With `has_params`, the cell does not need `init`.
    """
    kind = "a GatedCell" if gated else "a cell"
    if isinstance(cell, type) and issubclass(cell, Cell):
        name = cell.__name__
        raise InputError(f"{caller} needs {kind}, got the class {name}; pass {name}(hidden_size).")
    if not isinstance(cell, Cell):
        got = repr(cell) if isinstance(cell, str) else f"an object of type {type(cell).__name__}"
        raise InputError(f"{caller} needs {kind} such as LSTMCell(hidden_size=64), got {got}.")
    if gated and not isinstance(cell, GatedCell):
        raise InputError(f"{caller} needs a GatedCell, but {type(cell).__name__} is not one.")
    check_complete(cell, has_params)


def require_vectors(caller: str, cell: Cell, advice: str = "") -> None:
    """Raise InputError if `cell` has spatial axes; `advice` ends the sentence."""
    if cell.spatial_axes:
        raise InputError(
            f"{caller} needs a cell without spatial axes, got {type(cell).__name__}{advice}."
        )


def check_complete(cell: Cell, has_params: bool = False) -> None:
    """Raise InputError unless the class of `cell` defines all attributes in `REQUIRED`."""
    kind = type(cell)
    missing = [
        name
        for base, names in REQUIRED.items()
        if isinstance(cell, base)
        for name in names
        if not (has_params and name == "init")
        and inspect.getattr_static(kind, name, None) is vars(base).get(name)
    ]
    if missing:
        raise InputError(
            f"{kind.__name__} is incomplete, it does not define {', '.join(missing)}; see rnn_jax."
            f"{'GatedCell' if isinstance(cell, GatedCell) else 'Cell'} for the parts of a cell."
        )


def abstract_params(cell: Cell, input_size: int | None = None) -> Params | None:
    """Shapes and dtypes of the parameters, or None if `cell.init` cannot be traced."""
    try:
        size = cell.hidden_size if input_size is None else input_size
        return jax.eval_shape(lambda: cell.init(jax.random.key(0), size))
    except Exception:  # A user's `init` may raise anything; the real call reports it.
        return None


@lru_cache(maxsize=256)
def _expected_params(cell: Cell, input_size: int) -> Params | None:
    return abstract_params(cell, input_size)


def check_params(cell: Cell, params: Params, input_size: int) -> None:
    """Raise InputError unless `params` have the structure of `cell.init(key, input_size)`.

    A different input size is not an error here: `unroll` reports a wrong number of features.
    """
    expected = _expected_params(cell, input_size)
    if expected is None:
        return
    wanted, got = jax.tree.flatten(expected), jax.tree.flatten(params)
    if wanted[1] == got[1]:
        shapes = [[np.shape(leaf) for leaf in leaves] for leaves, _ in (wanted, got)]
        if shapes[0] == shapes[1] or cell.input_size(params) not in (None, input_size):
            return
    if type(cell).__name__.startswith("_"):  # A private wrapper.
        cell = getattr(cell, "inner")  # noqa: B009
    raise InputError(
        f"params do not fit {cell}: expected {_described(expected, params)}, got "
        f"{_described(params, expected)}; make them with cell.init(key, input_size={input_size})."
    )


def _described(params, other):
    """Type and shapes of a tree, with the module if the type of `other` has the same name."""
    name = type(params).__name__
    if not jax.tree.leaves(params) or jax.tree.leaves(params)[0] is params:
        return repr(params)[:80]
    if name == type(other).__name__ and type(params) is not type(other):
        name = f"{type(params).__module__}.{name}"
    shapes = (
        f"{jax.tree_util.keystr(path, simple=True, separator='.')} {list(np.shape(leaf))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    )
    return f"{name}({', '.join(shapes)})"


def has_param(cell: Cell, field: str) -> bool:
    """Return whether the parameters of `cell` have `field`; True if `init` cannot be traced."""
    params = abstract_params(cell)
    return params is None or getattr(params, field, None) is not None


def gate_widths(cell: GatedCell) -> tuple[int, int] | None:
    """The widths of x_gates and h_gates, or None if `cell.init` cannot be traced."""
    params, places = abstract_params(cell, 1), (1,) * cell.spatial_axes
    if params is None:
        return None
    x = jax.ShapeDtypeStruct((*places, 1), jnp.float32)
    x_gates = jax.tree.leaves(jax.eval_shape(cell.project, params, x))[0]
    carry = jax.eval_shape(partial(cell.initial_carry, places))
    return x_gates.shape[-1], jax.eval_shape(cell.mix, params, carry).shape[-1]


def has_recurrent_product(cell: Cell) -> bool:
    """Return whether `cell` is a GatedCell whose gates depend on the carry or cannot be traced."""
    if not isinstance(cell, GatedCell):
        return False
    widths = gate_widths(cell)
    return widths is None or widths[1] > 0


def check_memory(cell: Cell, input_size: int) -> None:
    """Raise InputError if the parameters of `cell` are larger than the memory of this machine."""
    try:
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    except OverflowError as error:
        raise InputError(_too_large(cell, input_size, "a number of bytes past 64 bits")) from error
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    if size > _memory():
        raise InputError(_too_large(cell, input_size, f"{size / 2**30:,.0f} GiB"))


def _too_large(cell: Cell, input_size: int, size: str) -> str:
    return (
        f"the parameters of {type(cell).__name__} with hidden_size={cell.hidden_size} and "
        f"input_size={input_size} would take {size}, more than this machine's memory; "
        "use smaller sizes."
    )


def _memory() -> Any:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")
