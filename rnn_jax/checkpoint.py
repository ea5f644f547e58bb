"""Checkpoints that are whole or not used: everything that touches Orbax.

Orbax restores a flipped bit without a word, casts silently, and does not fall back. Here every leaf
is held against the SHA-256 it was saved with, and a damaged checkpoint against the next older one.
"""

import dataclasses
import hashlib
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import SingleDeviceSharding
from numpy.typing import ArrayLike

from rnn_jax.errors import InputError, RunError
from rnn_jax.numerics import named
from rnn_jax.rundir import free_name
from rnn_jax.sealed import Damaged, Incomplete, file_digests, read_sealed, reason, write_sealed
from rnn_jax.typing import Params

CONTENTS = "contents.json"
ALONE = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
"""Every process holds every array whole: the first one saves, and waits for no other."""


SPARE = 2**18
"""Bytes to have left beside three times those of the arrays, which Orbax writes twice."""


class DamageWarning(UserWarning):
    """A checkpoint was damaged and an older one was taken."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint held.

    Attributes:
      step: the training step it was saved after.
      tree: the arrays, as NumPy arrays, in the structure that was asked for.
      facts: what was saved beside them.
    """

    step: int
    tree: Params
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: a folder `step_N` each, of which the newest `keep` stay.

    A checkpoint is complete once its list of contents is written, last of all. Where a run has
    several processes, all of them call `save` and `restore`, and the first does the rest.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder = folder.absolute()
        self.keep = keep

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, ascending."""
        return [step for step in self._all_steps() if (self._path(step) / CONTENTS).exists()]

    def save(self, step: int, tree: Params, facts: Mapping[str, Any]) -> None:
        """Save arrays and JSON facts as the checkpoint of `step`, in place of one that is there.

        Raises:
          RunError: it could not be written; older checkpoints are as they were.
        """
        arrays = jax.device_get(named(tree))
        path = self._path(step)
        try:
            if jax.process_index() == 0:
                _delete(path)
                path.mkdir(parents=True, exist_ok=True)
                _try_room(path, sum(array.nbytes for array in arrays.values()))
                with ocp.StandardCheckpointer(multiprocessing_options=ALONE) as checkpointer:
                    checkpointer.save(path / "arrays", arrays)
                contents = {
                    "step": step,
                    "facts": dict(facts),
                    "leaves": {name: described(array) for name, array in arrays.items()},
                    "files": file_digests(path / "arrays"),
                }
                write_sealed(path / CONTENTS, contents)
                self._prune()
        except Exception as error:  # Orbax raises bare exceptions for a full disk.
            raise RunError(
                f"the checkpoint of step {step} could not be saved in {self.folder} "
                f"({reason(error)}); make room there, then go on with --resume."
            ) from error
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("checkpoint saved")

    def restore(self, like: Params, *, subset: bool = False) -> Restored | None:
        """The newest checkpoint that is not damaged, or None where none was ever completed.

        A damaged or incomplete one is skipped with a `DamageWarning`.

        Args:
          like: what was saved, as arrays or shapes; names, shapes and dtypes must be the same.
          subset: `like` may be a part of what was saved.

        Raises:
          InputError: every checkpoint is damaged, or one does not hold what `like` asks for.
        """
        restored, found = None, []
        for step in reversed(self._all_steps()):
            try:
                restored = self._restore(step, like, subset)
                break
            except Damaged as damage:
                found.append((step, damage))
        if restored is None and any(not isinstance(damage, Incomplete) for _, damage in found):
            reasons = "; ".join(f"step {step}: {damage}" for step, damage in found)
            raise InputError(
                f"{self.folder} holds no valid checkpoint ({reasons}); "
                "start anew with another --out-dir."
            )
        instead = f"; that of step {restored.step} is" if restored else ""
        for step, damage in found:
            message = f"the checkpoint of step {step} is not used: {damage}{instead}."
            warnings.warn(message, DamageWarning, 2)
        return restored

    def set_aside(self, after: int) -> None:
        """Rename the checkpoints of steps later than `after`: damaged ones, kept to look at."""
        if jax.process_index() == 0:
            for step in self.steps():
                if step > after:
                    self._path(step).rename(free_name(self.folder / f"damaged_{step}"))

    def _all_steps(self):
        numbers = (path.name.removeprefix("step_") for path in self.folder.glob("step_*"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def _path(self, step):
        return self.folder / f"step_{step}"

    def _prune(self):
        kept = self.steps()[-self.keep :]
        for step in set(self._all_steps()) - set(kept):
            _delete(self._path(step))

    def _restore(self, step, like, subset):
        path = self._path(step)
        contents = read_sealed(path / CONTENTS)
        wanted = named(like)
        _check(path, wanted, contents["leaves"], subset)
        _check_files(path / "arrays", contents["files"])
        arrays = _restore_arrays(path / "arrays", contents["leaves"])
        for name, array in arrays.items():
            if described(array)["sha256"] != contents["leaves"][name]["sha256"]:
                raise Damaged(f"{name} has another SHA-256 than it was saved with")
        tree = jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])
        return Restored(contents["step"], tree, contents["facts"])


def described(array: ArrayLike) -> dict[str, Any]:
    """Shape, dtype and SHA-256 of an array, as a checkpoint lists them."""
    array = np.asarray(array)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}


def _check(path, wanted, stored, subset):
    """Raise InputError unless the leaves stored are those wanted, in shape and dtype."""
    for name, leaf in wanted.items():
        expected = f"{leaf.dtype}{list(leaf.shape)}"
        found = f"{stored[name]['dtype']}{stored[name]['shape']}" if name in stored else "nothing"
        if found != expected:
            raise InputError(
                f"{path} does not fit the model: {name} should be {expected}, found {found}; "
                "build the model with the settings of the run's config.json."
            )
    extra = [] if subset else sorted(set(stored) - set(wanted))
    if extra:
        raise InputError(
            f"{path} does not fit the model: it holds {extra[0]}, which the model does not have; "
            "build the model with the settings of the run's config.json."
        )


def _try_room(path, size):
    """Raise OSError unless there is room: TensorStore prints many stack traces of a full disk."""
    trial = path / "room.tmp"
    trial.write_bytes(bytes(3 * size + SPARE))
    trial.unlink()


def _check_files(path, digests):
    """Raise Damaged, in place of the stack traces that TensorStore prints, for spoilt files."""
    found = file_digests(path)
    for name, digest in digests.items():
        if name not in found:
            raise Damaged(f"{name} is missing")
        if found[name] != digest:
            raise Damaged(f"{name} has another SHA-256 than it was saved with")


def _restore_arrays(path, leaves):
    # Told where to, Orbax does not ask for the devices that the arrays were saved from.
    here = SingleDeviceSharding(jax.local_devices()[0])
    abstract = {
        name: jax.ShapeDtypeStruct(leaf["shape"], leaf["dtype"], sharding=here)
        for name, leaf in leaves.items()
    }
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return jax.device_get(checkpointer.restore(path, abstract))
    except Exception as error:  # Orbax raises bare exceptions for damaged files.
        raise Damaged(f"its arrays cannot be read ({reason(error)})") from error


def _delete(path):
    """Delete a checkpoint; cut off at any moment, what is left of it counts as none."""
    (path / CONTENTS).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
