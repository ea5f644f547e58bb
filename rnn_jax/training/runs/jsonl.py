"""JSONL files: one JSON object per line, appended and flushed row by row. JAX is not imported."""

import json
import os
import textwrap
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from rnn_jax.errors import InputError
from rnn_jax.files import writing


def as_line(row: Mapping) -> str:
    """A row as a line of JSON."""
    return json.dumps(row) + "\n"


def append_rows(path: Path, rows: Iterable[Mapping]) -> None:
    """Append rows to a JSONL file; they are on disk when this returns.

    Raises:
      RunError: they cannot be written.
    """
    with writing(path), open(path, "a", encoding="utf-8") as file:
        file.write("".join(map(as_line, rows)))
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path, keys: Collection[str] = ()) -> list[dict]:
    """Read the rows of a JSONL file.

    An unfinished last line, left by a process that was killed, is ignored.

    Args:
      path: the file.
      keys: keys that each row must have.

    Raises:
      InputError: the file does not exist, or a line is not a row.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as rows ({reason}).") from error
    return parse_rows(path, content, keys)


def parse_rows(path: Path, content: bytes, keys: Collection[str] = ()) -> list[dict]:
    """Parse the content of the JSONL file `path`; see `read_rows`."""
    rows = []
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            row, reason = None, f"it is not JSON ({error})"
        else:
            reason = f"it is not a JSON object: {textwrap.shorten(str(row), 60)}"
        if isinstance(row, dict):
            missing = [key for key in keys if key not in row]
            if not missing:
                rows.append(row)
                continue
            reason = f"it has no {missing[0]}"
        raise InputError(
            f"{path} cannot be read as rows: line {number} is damaged, {reason}; "
            "restore the file from a copy, or delete that line."
        )
    return rows
