"""Cells by name, from this package and from the user's modules."""

import dataclasses
import importlib
import os
import sys

from rnn_jax.cells import CELLS
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import check_complete
from rnn_jax.errors import InputError


def find_cell(name: str, hidden_size: int, **options) -> Cell:
    """Create the cell called `name`.

    Args:
      name: one of `CELLS`, or `module:Class`, a subclass of `Cell`. The module is searched on the
        Python path and in the current folder.
      hidden_size: H.
      options: fields of the cell, such as forget_bias.

    Raises:
      InputError: an unknown name, module or class; a module that cannot be imported; a class that
        is not a `Cell`, is incomplete or does not accept the options.
    """
    found = CELLS[name] if name in list(CELLS) else _load(name)
    try:
        cell = found(hidden_size, **options)
    except InputError:
        raise
    except Exception as error:
        given = "".join(f", {option}={value!r}" for option, value in options.items())
        raise InputError(
            f"{name} cannot be made with hidden_size={hidden_size}{given}: {in_one_line(error)}."
        ) from error
    check_complete(cell)
    return cell


def takes(cell: Cell, option: str) -> bool:
    """Return whether the cell has a field called `option`, such as forget_bias."""
    return option in {field.name for field in dataclasses.fields(cell)}


def in_one_line(error: BaseException) -> str:
    """The type and message of an exception on one line, shortened."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".:")
    return text if len(text) <= 200 else text[:200] + " ..."


def _load(name):
    module, _, attribute = str(name).partition(":")
    path = module.replace(os.sep, "/")
    if path.endswith(".py") or "/" in path:
        stem = path.removesuffix(".py").rpartition("/")[2]
        raise InputError(
            f"cell {name!r} names a file; give the module and the class, "
            f"{stem}:{attribute or 'MyCell'}, and run from the folder of {stem}.py or put that "
            "folder on PYTHONPATH."
        )
    if not (module and attribute):
        raise InputError(
            f"cell must be one of {', '.join(CELLS)}, or module:Class, e.g. my_module:MyCell; "
            f"got {name!r}."
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # A user's module may raise anything.
        raise InputError(f"cell {name} cannot be loaded: {in_one_line(error)}.") from error
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise InputError(f"cell {name} must be a subclass of rnn_jax.Cell.")
    return found
