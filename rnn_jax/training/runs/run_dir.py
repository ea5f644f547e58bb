"""Run folders: used by one process at a time, never overwritten, with files written atomically."""

import contextlib
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from rnn_jax.errors import InputError, RunError
from rnn_jax.files import local_path, replacing, writing
from rnn_jax.training.devices.sharding import largest
from rnn_jax.training.runs.jsonl import append_rows
from rnn_jax.training.runs.locks import LOCK, FolderLock, InUse

TRACES = "config.json", "metrics.jsonl", "checkpoints"
"""A folder has a run if one of these exists in it."""


class RunDir:
    """A folder that only process 0 of a run writes to.

    Attributes:
      path: the folder.
      writes: whether this process writes; in the others, writing does nothing.
      lock: the lock against other commands, if any; see `claim` and `exclusive`.
    """

    def __init__(self, path: Path, lock: FolderLock | None = None):
        self.path, self.lock = path, lock
        self.writes = jax.process_index() == 0

    def write(self, name: str, content: Mapping) -> Path:
        """Write a JSON file atomically.

        Raises:
          RunError: it cannot be written.
        """
        return self.write_text(name, json.dumps(content, indent=2, default=str) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write a UTF-8 text file atomically.

        Raises:
          RunError: it cannot be written.
        """
        path = self.path / name
        if self.writes:
            with writing(path), replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return path

    def append(self, name: str, row: Mapping) -> None:
        """Append one row to a JSONL file; it is on disk when this returns.

        Raises:
          RunError: it cannot be written.
        """
        if self.writes:
            append_rows(self.path / name, [row])

    def remove(self, name: str) -> None:
        """Delete a file, if it exists.

        Raises:
          RunError: it cannot be deleted.
        """
        if self.writes:
            with writing(self.path / name):
                (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A context for a file that every process may write and that is deleted at the end."""
        try:
            yield self.path / name
        finally:
            self.remove(name)

    def move_aside(self) -> Path | None:
        """Rename a folder that has a run to the first free name of name.1, name.2, ...

        The lock moves to a new, empty folder with the old name.

        Returns:
          the new path of the earlier run, or None if the folder has no run or is not locked.
        """
        if self.lock is None or not holds_run(self.path):
            return None
        old = self.lock
        with writing(self.path):
            earlier = self.path.rename(free_name(self.path))
        self.lock = FolderLock(self.path)
        old.release()
        return earlier


@contextlib.contextmanager
def claim(out_dir: Path, default: Path, resume: bool) -> Iterator[RunDir]:
    """Choose the folder of a run, and lock it until the context ends.

    Args:
      out_dir: the folder. If it is the object `default` itself, as for an option that was not
        given, the first free folder of name, name-2, ... is chosen. An equal path that was given
        is used unchanged.
      default: the first of the numbered folders.
      resume: continue the run in `out_dir`, or the run with the highest number.

    Raises:
      InputError: the given folder has a run or, with `resume`, has none; another process uses it;
        or it cannot be written.
      RunError: process 0 of several could not lock the folder.
    """
    given, first = out_dir is not default, jax.process_index() == 0
    number, lock, failure = 1, None, None
    if first:
        try:
            if given:
                lock = _lock_given(local_path(out_dir), resume)
            else:
                number, lock = _lock_numbered(local_path(default), resume)
        except InputError as error:
            failure = error
    # The other processes may see folders that were created later, so they take this number.
    shared: Any = largest(number, failure is not None)
    number, failed = shared
    if failure is not None:
        raise failure
    if failed:
        raise RunError("process 0 cannot use the folder for results; see its error.")
    path = local_path(out_dir) if given else _numbered(local_path(default), int(number))
    try:
        yield RunDir(path, lock)
    finally:
        if lock is not None:
            lock.release()


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[RunDir]:
    """Create a folder for results if needed, and lock it until the context ends.

    Raises:
      InputError: another process uses it, or it cannot be written.
    """
    path = local_path(path)
    out = RunDir(path, FolderLock(path))
    try:
        yield out
    finally:
        lock: Any = out.lock  # A new one, if an earlier run was moved aside.
        lock.release()


def holds_run(path: Path) -> bool:
    """True if a folder has a run, or a part of one."""
    return any(os.path.lexists(path / name) for name in TRACES)


def free_name(path: Path) -> Path:
    """The first of name.1, name.2, ... that does not exist."""
    number = 1
    while os.path.lexists(free := path.with_name(f"{path.name}.{number}")):
        number += 1
    return free


def _lock_given(path, resume):
    # A lock file alone is left by a run that ended before it wrote anything.
    if resume and not (holds_run(path) or os.path.lexists(path / LOCK)):
        raise InputError(
            f"{path} has no run to resume; check `out_dir`, or start a run without `resume=True`."
        )
    lock = FolderLock(path)
    if not resume and holds_run(path):
        lock.release()
        raise InputError(
            f"{path} has a run already; continue it with `resume=True`, or give another `out_dir`."
        )
    return lock


def _lock_numbered(default, resume) -> Any:
    """Number and lock of the chosen folder."""
    last = max(_numbers_of_runs(default), default=0)
    if resume:
        if not last:
            raise InputError(
                f"there is no run to resume: neither {default} nor a numbered folder next to it "
                "has one; check `out_dir`, or start a run without `resume=True`."
            )
        return last, FolderLock(_numbered(default, last))
    for number in itertools.count(last + 1):
        try:
            lock = FolderLock(_numbered(default, number))
        except InUse:
            continue
        if not holds_run(_numbered(default, number)):
            return number, lock
        lock.release()


def _numbers_of_runs(default):
    try:
        names = os.listdir(default.parent)
    except (OSError, ValueError):
        names = []
    for name in names:
        found = re.fullmatch(re.escape(default.name) + r"(?:-([2-9]|[1-9]\d{1,5}))?", name)
        if found and holds_run(default.parent / name):
            yield int(found[1] or 1)


def _numbered(path, number):
    return path if number == 1 else path.with_name(f"{path.name}-{number}")
