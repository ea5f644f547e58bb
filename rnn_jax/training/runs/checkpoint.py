"""Checkpoints of a run: saved in the background, with fallback to an older one if damaged."""

import contextlib
import errno
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rnn_jax.errors import InputError, RunError
from rnn_jax.files import Damaged, Incomplete, reason, sweep
from rnn_jax.numerics import named
from rnn_jax.training.best import best_steps, value_of
from rnn_jax.training.devices.sharding import largest
from rnn_jax.training.runs.checkpoint_files import (
    Restored,
    delete_checkpoint,
    is_complete,
    is_unfinished,
    read_checkpoint,
    read_contents,
    write_checkpoint,
)
from rnn_jax.training.runs.provenance import cores
from rnn_jax.training.runs.run_dir import free_name
from rnn_jax.typing import Params


class DamageWarning(UserWarning):
    """A checkpoint is damaged, and an older one is used."""


class Checkpoints:
    """Checkpoints of one run, each in a folder `step_N`.

    A checkpoint is complete once its list of contents is written, after its arrays have been
    flushed to disk and read back. If a run has several processes, all of them call `save`, `wait`
    and `restore`, and process 0 writes.

    Attributes:
      folder: the folder of all checkpoints.
      keep: number of newest checkpoints to keep.
      metric: also keep the checkpoint whose `facts["row"]` has the best value of this metric.
    """

    def __init__(self, folder: Path, keep: int = 2, metric: str = ""):
        self.folder = folder.absolute()
        self.keep, self.metric = keep, metric
        self._best, self._blocked, self._wrote = math.inf, 0.0, 0.0
        self._pending: int | None = None
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    @property
    def busy(self) -> bool:
        """True while this process is writing a checkpoint."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def cost(self) -> float:
        """Training time that the last save cost, in seconds: blocked, or sharing the cores."""
        return self._blocked + self._wrote / cores()

    def improves(self, row: Mapping[str, Any]) -> bool:
        """True if a row of metrics has a better value of `metric` than all checkpoints."""
        if self.metric and self._best == math.inf:
            values = (value_of(each, self.metric) for each in self._rows()[0].values())
            self._best = min(values, default=math.inf)
        return bool(self.metric) and value_of(row, self.metric) < self._best

    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, in ascending order.

        Raises:
          InputError: the folder cannot be read.
        """
        return [step for step in self._all_steps() if is_complete(self._path(step))]

    def save(
        self, step: int, tree: Params, facts: Mapping[str, Any], *, background: bool = False
    ) -> None:
        """Save arrays and JSON data as the checkpoint of `step`, replacing an existing one.

        Args:
          step: the training step.
          tree: a pytree of arrays; they may be donated or overwritten once this returns.
          facts: any data that JSON can represent; the digest of the checkpoint covers it.
          background: return once the arrays are copied; call `wait` before the process ends.

        Raises:
          RunError: this checkpoint or, in the background, the previous one could not be written;
            older checkpoints are unchanged.
        """
        started = time.perf_counter()
        self.wait()
        self._pending = step
        if jax.process_index() == 0:
            try:
                arguments = step, _copied(tree), dict(facts)
                self._thread = threading.Thread(target=self._write, args=arguments)
                self._thread.start()
            except (MemoryError, RuntimeError) as error:
                self._thread, self._failure = None, error
        if not background:
            self.wait()
        self._best = min(self._best, value_of(facts.get("row"), self.metric))
        self._blocked = time.perf_counter() - started

    def wait(self) -> None:
        """Block until the last save is complete.

        Raises:
          RunError: it failed, in this process or in process 0.
        """
        if self._pending is None:
            return
        self._join()
        step, self._pending = self._pending, None
        error, self._failure = self._failure, None
        if error is not None:
            cause = reason(error).removesuffix(".")
            (_,) = largest(1)
            raise RunError(
                f"the checkpoint of step {step} could not be saved in {self.folder} ({cause}); "
                "free some disk space, then continue with `resume=True`."
            ) from error
        if largest(0) != (0,):
            raise RunError(f"process 0 cannot save the checkpoint of step {step}; see its error.")

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        """A context in which saves may run in the background; on exit, the last one is complete."""
        try:
            yield
        except BaseException:
            self._join()  # `wait` could hang here: another process may have died.
            raise
        self.wait()

    def restore(self, like: Params, *, subset: bool = False, best: bool = False) -> Restored | None:
        """Restore the newest checkpoint that is not damaged; None if there is none.

        Damaged and incomplete checkpoints are skipped with a `DamageWarning`.

        Args:
          like: a pytree of arrays or shapes with the saved names, shapes and dtypes.
          subset: `like` may be a part of the saved tree.
          best: prefer the checkpoints with the best values of `metric` to newer ones.

        Raises:
          InputError: the folder cannot be read, every checkpoint is damaged, or one does not have
            the arrays of `like`.
        """
        restored, found, steps = None, [], self._all_steps()[::-1]
        if best:
            rows, found = self._rows()
            steps = best_steps(rows, self.metric)
        for step in steps:
            try:
                restored = read_checkpoint(self._path(step), step, like, subset)
                break
            except Damaged as damage:
                found.append((step, damage))
        if restored is None and any(not isinstance(damage, Incomplete) for _, damage in found):
            reasons = "; ".join(f"step {step}: {damage}" for step, damage in found)
            raise InputError(
                f"{self.folder} has no valid checkpoint ({reasons}); "
                "start a new run with another `out_dir`."
            )
        instead = f"; that of step {restored.step} is" if restored else ""
        for step, damage in found:
            message = f"the checkpoint of step {step} is not used: {damage}{instead}."
            warnings.warn(message, DamageWarning, 2)
        return restored

    def set_aside(self, after: int) -> None:
        """Rename the damaged checkpoints after step `after`; delete unfinished ones."""
        if jax.process_index() != 0:
            return
        for step in self._all_steps():
            path = self._path(step)
            sweep(path)
            if is_unfinished(path):
                delete_checkpoint(path)
            elif step > after:
                try:
                    path.rename(free_name(self.folder / f"damaged_{step}"))
                except OSError as error:
                    raise InputError(
                        f"{path} cannot be renamed ({reason(error)}); make it writable."
                    ) from error

    def _all_steps(self):
        try:
            names = os.listdir(self.folder)
        except OSError as error:
            if error.errno == errno.ENOENT and not self.folder.is_symlink():
                return []
            raise InputError(
                f"the checkpoints in {self.folder} cannot be read ({reason(error)}); "
                "make the folder readable, or give another `out_dir`."
            ) from error
        found = (re.fullmatch(r"step_(0|[1-9][0-9]{0,17})", name) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def _path(self, step):
        return self.folder / f"step_{step}"

    def _rows(self):
        """Rows of metrics saved with the checkpoints by step, and (step, damage) of the others."""
        rows, found = {}, []
        for step in self.steps():
            try:
                rows[step] = read_contents(self._path(step), step)["facts"].get("row")
            except Damaged as damage:
                found.append((step, damage))
        return rows, found

    def _join(self):
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self, step, arrays, facts):
        started = time.perf_counter()
        try:
            write_checkpoint(self._path(step), step, arrays, facts)
            kept = self.steps()[-self.keep :]
            if self.metric:
                kept += best_steps(self._rows()[0], self.metric)[:1]
            for other in set(self._all_steps()) - set(kept):
                delete_checkpoint(self._path(other))
        except Exception as error:  # Orbax raises plain Exception for a full disk.
            self._failure = error
        self._wrote = time.perf_counter() - started


def _copied(tree):
    """Leaves of a tree by name, copied to NumPy arrays."""
    return {name: np.array(leaf) for name, leaf in jax.device_get(named(tree)).items()}
