"""Checks of a cell as an argument: is it a cell, is it complete, what are its parameters."""

import inspect
import os
from typing import Any

import jax

from rnn_jax.cell import Cell, GatedCell, LinearCell
from rnn_jax.errors import InputError
from rnn_jax.typing import Params

REQUIRED = {
    Cell: ("init", "initial_carry", "step"),
    GatedCell: ("gates", "update"),
    LinearCell: ("coefficients",),
}
"""The parts that a subclass of each base must provide."""


def require_cell(caller: str, cell: object, *, gated: bool = False) -> None:
    """Raise InputError unless `cell` is a complete `Cell`, and a `GatedCell` if `gated`."""
    kind = "a GatedCell" if gated else "a cell"
    if isinstance(cell, type) and issubclass(cell, Cell):
        name = cell.__name__
        raise InputError(f"{caller} needs {kind}, got the class {name}; pass {name}(hidden_size).")
    if not isinstance(cell, Cell):
        got = repr(cell) if isinstance(cell, str) else f"an object of type {type(cell).__name__}"
        raise InputError(f"{caller} needs {kind} such as LSTMCell(hidden_size=64), got {got}.")
    if gated and not isinstance(cell, GatedCell):
        raise InputError(f"{caller} needs a GatedCell, {type(cell).__name__} is none.")
    check_complete(cell)


def check_complete(cell: Cell) -> None:
    """Raise InputError, naming the parts, unless the class of `cell` provides all of `REQUIRED`."""
    kind = type(cell)
    missing = [
        name
        for base, names in REQUIRED.items()
        if isinstance(cell, base)
        for name in names
        if inspect.getattr_static(kind, name, None) is vars(base).get(name)
    ]
    if missing:
        raise InputError(
            f"{kind.__name__} is incomplete, it does not define {', '.join(missing)}; see rnn_jax."
            f"{'GatedCell' if isinstance(cell, GatedCell) else 'Cell'} for the parts of a cell."
        )


def abstract_params(cell: Cell, input_size: int | None = None) -> Params | None:
    """Shapes and dtypes of the parameters, or None where `cell.init` cannot be traced."""
    try:
        size = cell.hidden_size if input_size is None else input_size
        return jax.eval_shape(lambda: cell.init(jax.random.key(0), size))
    except Exception:  # A user's `init` may raise anything; the real call reports it.
        return None


def has_param(cell: Cell, field: str) -> bool:
    """Whether the parameters of `cell` have `field`; true where this cannot be known."""
    params = abstract_params(cell)
    return params is None or getattr(params, field, None) is not None


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
