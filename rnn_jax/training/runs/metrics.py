"""Rows of metrics of a run, verified against the digests in its checkpoints."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from rnn_jax.errors import InputError
from rnn_jax.training.runs.jsonl import as_line, parse_rows
from rnn_jax.training.runs.records import SEAL, SUMMARY
from rnn_jax.training.runs.run_dir import RunDir, free_name
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

METRICS = "metrics.jsonl"
PENDING = ".no-checkpoint-yet"
"""Name of a file that exists in a run folder until the first checkpoint is complete."""


class Tally:
    """Number and SHA-256 of the rows added so far."""

    def __init__(self, rows: Iterable[Mapping] = ()):
        self._count, self._sha = 0, hashlib.sha256()
        for row in rows:
            self.add(row)

    def add(self, row: Mapping) -> None:
        """Add a row."""
        self._count += 1
        self._sha.update(as_line(row).encode())

    def seal(self) -> dict[str, Any]:
        """Number and digest of the rows, as saved in a checkpoint."""
        return {"count": self._count, SEAL: self._sha.hexdigest()}


def read_metrics(
    out: RunDir, step: int, facts: Mapping[str, Any], *, extended: bool = False
) -> list[dict]:
    """Read the rows of metrics up to a checkpoint.

    Args:
      out: the folder of the run.
      step: the step of the checkpoint.
      facts: the facts of the checkpoint. `rows` has the number and digest of all rows,
        `regular_rows` those of the rows at multiples of `log_every`. A checkpoint of an older
        version has neither; in that case each line up to the step must be a row.
      extended: the run is continued after its last step, so matching regular rows are enough.

    Raises:
      InputError: the file is missing, damaged or changed.
    """
    path = out.path / METRICS
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); restore the file.") from error
    lines = content.split(b"\n")[:-1]
    if "rows" not in facts:
        return [row for row in parse_rows(path, content, ("step",)) if row["step"] <= step]
    for seal in [facts["rows"], facts["regular_rows"]][: 1 + extended]:
        head = b"".join(line + b"\n" for line in lines[: seal["count"]])
        if hashlib.sha256(head).hexdigest() == seal[SEAL]:
            return parse_rows(path, head)
    raise InputError(
        f"{path} is damaged: {_difference(path, lines, facts['rows']['count'])} since the "
        f"checkpoint of step {step} was saved; restore the file from a copy, or start a new run "
        "with another `out_dir`."
    )


def check_not_begun(out: RunDir) -> None:
    """Check that a run without a checkpoint can start at step 0.

    Rows of a run that ended before its first checkpoint are renamed.

    Raises:
      InputError: the run has rows or a summary, so it had a checkpoint before.
    """
    path = out.path / METRICS
    found = [name for name in (METRICS, SUMMARY) if _has_content(out.path / name)]
    if found and not os.path.lexists(out.path / PENDING):
        raise InputError(
            f"{out.path} has {found[0]}, but {out.path / CHECKPOINTS} has no checkpoint: it was "
            "deleted or is on a disk that is not mounted; restore it, or start a new run with "
            "another `out_dir`."
        )
    if out.writes and _has_content(path):
        renamed = path.rename(free_name(path))
        print(f"kept     the rows of the run before its first checkpoint, now in {renamed}")


def _has_content(path):
    try:
        return os.path.isdir(path) or os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def _difference(path, lines, count):
    if len(lines) < count:
        return f"it has {len(lines)} complete lines of {count}"
    last = 0
    for number, line in enumerate(lines[:count], 1):
        try:
            (row,) = parse_rows(path, line + b"\n", ("step", "loss"))
            ascending = row["step"] > last
            last = row["step"]
        except (InputError, TypeError):
            ascending = False
        if not ascending:
            return f"line {number} was changed"
    return f"one of its lines 1 to {count} was changed"
