"""Resumable grids of training runs, with one row for each point."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnn_jax.errors import InputError
from rnn_jax.training.runs.jsonl import append_rows, read_rows
from rnn_jax.training.runs.resumed_rows import resume_rows
from rnn_jax.training.runs.run_dir import RunDir


def train_missing(
    out: RunDir,
    name: str,
    points: Sequence[Any],
    solve: Callable[[Sequence[Any]], Iterable[dict]],
    *,
    settings: Mapping[str, Any],
    found: Mapping[str, Any],
    keys: Collection[str],
    describe: Callable[[dict], str],
) -> None:
    """Train the points of a grid that have no row yet, and append their rows.

    Args:
      out: the folder, locked; see `rnn_jax.training.runs.run_dir.exclusive`.
      name: name of the JSONL file of rows.
      points: named tuples, whose fields are also entries of the row.
      solve: trains points and yields their rows.
      settings: settings that all rows share.
      found: the `provenance` of this process.
      keys: keys that each row must have.
      describe: describes a row in one line, which is printed.

    Raises:
      InputError: the rows in the folder are damaged.
      RunError: the folder cannot be written.
    """
    fields = points[0]._fields
    done = {_place(row, fields) for row in resume_rows(out, name, settings, found, keys)}
    for row in solve([point for point in points if point not in done]):
        row |= {**settings, **found}
        append_rows(out.path / name, [row])
        number = 1 + points.index(_place(row, fields))
        print(f"{number:3d}/{len(points)}  {describe(row)}", flush=True)


def timed_rows(points: Iterable[Any], train: Callable[[Any], Any]) -> Iterator[dict]:
    """Train each point of a grid; yield its row, with the duration in seconds.

    Args:
      points: named tuples.
      train: trains a point and returns a named tuple, whose fields are also entries of the row.
    """
    for point in points:
        start = time.perf_counter()
        result = train(point)
        yield point._asdict() | result._asdict() | {"seconds": time.perf_counter() - start}


def latest_rows(path: Path, fields: Sequence[str], keys: Collection[str]) -> list[dict]:
    """The last row of each point of a grid.

    Args:
      path: the JSONL file.
      fields: entries of a row that identify its point.
      keys: keys that each row must have.

    Raises:
      InputError: the file does not exist, has no rows, or is damaged.
    """
    found = {_place(row, fields): row for row in reversed(read_rows(path, keys))}
    if not found:
        raise InputError(f"{path} holds no rows; train without --replot first.")
    return list(reversed(found.values()))


def _place(row, fields):
    return tuple(row[name] for name in fields)
