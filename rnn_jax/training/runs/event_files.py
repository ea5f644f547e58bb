"""Rows of metrics as TensorBoard event files, with the optional package tensorboardX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class EventFile:
    """A context manager for the event file of a run.

    Args:
      folder: the folder of the run.
      step: the step that the run starts or resumes from; later events of older files are hidden.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(self, *_) -> None:
        self._writer.close()

    def write(self, row: Mapping[str, Any]) -> None:
        """Write all finite values of a row as scalars of its step."""
        for name, value in row.items():
            if name != "step" and value is not None:
                self._writer.add_scalar(name, value, row["step"])
