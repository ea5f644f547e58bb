"""Files of one checkpoint: arrays written by Orbax, and a list of contents with digests.

Orbax restores flipped bits and casts dtypes without an error. Here, every file and every array is
compared with the SHA-256 of its saved state.
"""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from rnn_jax.errors import InputError
from rnn_jax.files import Damaged, file_digests, read_sealed, sync, write_sealed
from rnn_jax.numerics import named
from rnn_jax.training.runs.array_files import as_bytes, read_arrays, write_arrays
from rnn_jax.typing import Params

CONTENTS = "contents.json"


@dataclasses.dataclass(frozen=True)
class Restored:
    """Contents of a checkpoint.

    Attributes:
      step: the training step after which it was saved.
      tree: NumPy arrays, in the structure of the tree to restore.
      facts: the JSON data saved with them.
    """

    step: int
    tree: Params
    facts: dict[str, Any]


def is_complete(path: Path) -> bool:
    """True if the folder `path` is a checkpoint whose last file was written."""
    return os.path.isfile(path / CONTENTS)


def is_unfinished(path: Path) -> bool:
    """True if the folder `path` is a checkpoint that a killed process left incomplete."""
    return path.is_dir() and not path.is_symlink() and not os.path.lexists(path / CONTENTS)


def write_checkpoint(
    path: Path, step: int, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> None:
    """Write a checkpoint to the folder `path`, replacing an existing one.

    Raises:
      Exception: it could not be written; Orbax raises plain Exception for a full disk.
    """
    delete_checkpoint(path)
    path.mkdir(parents=True, exist_ok=True)
    write_arrays(path / "arrays", arrays)
    contents = {
        "step": step,
        "facts": dict(facts),
        "leaves": {name: described(array) for name, array in arrays.items()},
        "files": file_digests(path / "arrays"),
    }
    write_sealed(path / CONTENTS, contents)
    sync(path.parent)


def read_contents(path: Path, step: int) -> dict[str, Any]:
    """Read the list of contents of the checkpoint of `step`.

    Raises:
      Incomplete: the file is missing.
      Damaged: the file is damaged or belongs to another step.
    """
    contents = read_sealed(path / CONTENTS)
    missing = {"step", "facts", "leaves", "files"} - set(contents)
    if missing:
        raise Damaged(f"{CONTENTS} has no {min(missing)}")
    if contents["step"] != step:
        raise Damaged(f"it is the checkpoint of step {contents['step']}")
    return contents


def read_checkpoint(path: Path, step: int, like: Params, subset: bool) -> Restored:
    """Read the checkpoint of `step` from the folder `path`; see `Checkpoints.restore`.

    Raises:
      Damaged: it cannot be read, or differs from what was saved.
      InputError: it does not have the arrays of `like`.
    """
    contents, wanted = read_contents(path, step), named(like)
    _check(path, wanted, contents["leaves"], subset)
    _check_files(path / "arrays", contents["files"])
    arrays = read_arrays(path / "arrays", contents["leaves"])
    for name, array in arrays.items():
        if described(array)["sha256"] != contents["leaves"][name]["sha256"]:
            raise Damaged(f"the SHA-256 of {name} differs from the saved one")
    tree = jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])
    return Restored(step, tree, contents["facts"])


def delete_checkpoint(path: Path) -> None:
    """Delete a checkpoint; if interrupted, the rest counts as unfinished."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        (path / CONTENTS).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def described(array: ArrayLike) -> dict[str, Any]:
    """Shape, dtype and SHA-256 of an array, as in the list of contents."""
    array = np.asarray(array)
    digest = hashlib.sha256(as_bytes(array).data).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}


def _check(path, wanted, stored, subset):
    """Raise InputError unless the stored leaves have the expected names, shapes and dtypes."""
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
            f"{path} does not fit the model: it has {extra[0]}, and the model does not; "
            "build the model with the settings of the run's config.json."
        )


def _check_files(path, digests):
    """Raise Damaged for damaged files, before TensorStore prints stack traces about them."""
    found = file_digests(path)
    for name, digest in digests.items():
        if name not in found:
            raise Damaged(f"{name} is missing")
        if found[name] != digest:
            raise Damaged(f"the SHA-256 of {name} differs from the saved one")
