"""Cells by name: those of this package, and those of the user's own modules."""

import dataclasses
import importlib
import os
import sys

from rnn_jax.cell import Cell
from rnn_jax.cells import CELLS
from rnn_jax.errors import InputError


def find_cell(name: str, hidden_size: int, **options) -> Cell:
    """The cell called `name`, made with `hidden_size` and what `options` it takes.

    Args:
      name: one of `CELLS`, or `module:Class`, a class derived from `Cell`; the module is looked for
        where Python looks, and in the current folder.
      hidden_size: H.
      options: fields of the cell, e.g. forget_bias.

    Raises:
      InputError: no such name, module or class, a class that is no `Cell` or takes other options.
    """
    found = CELLS[name] if name in list(CELLS) else _load(name)
    try:
        return found(hidden_size, **options)
    except TypeError as error:
        raise InputError(
            f"{name} cannot be made with hidden_size={hidden_size} and {options}: {error}."
        ) from error


def takes(cell: Cell, option: str) -> bool:
    """Whether the cell has a field called `option`, such as forget_bias."""
    return option in {field.name for field in dataclasses.fields(cell)}


def _load(name):
    module, _, attribute = str(name).partition(":")
    if not (module and attribute):
        raise InputError(
            f"cell must be one of {', '.join(CELLS)}, or module:Class, e.g. my_module:MyCell; "
            f"got {name!r}."
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cell {name} cannot be loaded: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise InputError(f"cell {name} must be a class derived from rnn_jax.Cell.")
    return found
