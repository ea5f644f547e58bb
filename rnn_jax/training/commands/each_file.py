"""Commands that read several files, some of which may be unreadable."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rnn_jax.errors import InputError
from rnn_jax.files import printable

Result = TypeVar("Result")


def each_file(program: str, paths: Sequence[Path], read: Callable[[Path], Result]) -> list[Result]:
    """Call `read` with each path and return the results.

    A file for which `read` raises InputError is skipped. With several files, the error is reported
    on standard error immediately.

    Args:
      program: the name that starts each report.
      paths: the files.
      read: reads one file.

    Raises:
      InputError: some files could not be read; the error of the file itself if it is the only one.
    """
    results, failures = [], []
    for path in paths:
        try:
            results.append(read(path))
        except InputError as error:
            failures.append(error)
            if len(paths) > 1:
                print(f"{program}: {printable(str(error))}", file=sys.stderr, flush=True)
    if failures:
        if len(paths) == 1:
            raise failures[0]
        raise InputError(f"{len(failures)} of {len(paths)} files could not be read.")
    return results
