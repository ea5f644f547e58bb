"""Writes to the files of a run, whose failure is one sentence."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rnn_jax.errors import RunError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A context for writing a file; a failure becomes a RunError that names the file."""
    try:
        yield path
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}); free some space, then "
            "start the command again, a training run with --resume."
        ) from error


def as_line(row: Mapping) -> str:
    """A row as a line of JSON."""
    return json.dumps(row) + "\n"


def append_rows(path: Path, rows: Iterable[Mapping]) -> None:
    """Append rows to a file of JSON lines; they are on disk when this returns.

    Raises:
      RunError: they cannot be written.
    """
    with writing(path), open(path, "a", encoding="utf-8") as file:
        file.write("".join(map(as_line, rows)))
        file.flush()
        os.fsync(file.fileno())
