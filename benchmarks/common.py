"""Cells of the user's own, for every benchmark."""

import importlib
import os
import sys

from rnn_jax.errors import InputError


def load_cell(name: str, hidden_size: int):
    """The user's cell `module:Class`, a `Cell` made with `hidden_size`.

    The module is looked for where Python looks, and in the current folder.

    Raises:
      InputError: no such module or class, or a class that is no `Cell`.
    """
    from rnn_jax.cell import Cell

    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise InputError(f"--cell must be module:Class, e.g. my_module:MyCell; got {name!r}.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--cell {name} cannot be loaded: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise InputError(f"--cell {name} must be a class derived from rnn_jax.Cell.")
    return found(hidden_size)
