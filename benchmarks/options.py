"""Checks of benchmark options before anything is measured or moved."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, printable

MOST = 2**31 - 1
"""Maximum size of an axis."""


def check_sizes(flags: Sequence[str], T: int, B: int, D: int, H: int) -> None:
    """Raise InputError unless the sizes are positive and a layer of them fits in memory.

    The estimate counts inputs, outputs and the weights of one gate; a layer needs several times
    that.

    Args:
      flags: the flags that set the four sizes.
      T, B, D, H: time steps, batch size, input features and hidden units.
    """
    for flag, letter, size in zip(flags, "TBDH", (T, B, D, H), strict=True):
        if not 1 <= size <= MOST:
            raise InputError(f"{flag} must be 1 to {MOST:,}; got {letter} = {size}.")
    needed = 4 * (T * B * (D + H) + H * (D + H))
    if needed > (there := _memory()):
        raise InputError(
            f"a layer with T={T}, B={B}, D={D}, H={H} takes more than {needed / 2**30:,.0f} GiB of "
            f"memory, and this machine has {there / 2**30:,.0f}; choose smaller "
            f"{', '.join(dict.fromkeys(flags))}."
        )


def _memory() -> float:
    """Memory of this machine in bytes; infinity if unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def check_cells(cells: Sequence[str], hidden_size: int, drivers: Sequence[str] = ()) -> None:
    """Raise InputError unless every cell exists and one of the drivers, if any, can run it."""
    from rnn_jax import LinearCell
    from rnn_jax.cells.registry import find_cell

    for name in cells:
        cell = find_cell(name, hidden_size)
        if set(drivers) == {"associative"} and not isinstance(cell, LinearCell):
            raise InputError(
                f"--drivers associative is for linear cells, and {printable(name)} is not one; "
                "add scan, or give --cells and --cell linear ones, e.g. --cells --cell mingru."
            )


def interpreter(path: str) -> str:
    """Path of a Python interpreter.

    Raises:
      InputError: there is no such program.
    """
    found = shutil.which(local_path(path))
    if found is None:
        raise InputError(f"--peer-python: {printable(path)} is not an executable program.")
    return found


def writable_folder(flag: str, path: Path) -> Path:
    """Create a folder if needed, and check that it is writable.

    Raises:
      InputError: it cannot be created or written.
    """
    path = local_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{flag} {printable(path)} cannot be created ({error.strerror}); give another folder."
        ) from error
    if not os.access(path, os.W_OK):
        raise InputError(f"{flag} {printable(path)} cannot be written; give another folder.")
    return path
