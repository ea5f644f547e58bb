"""Arrays on disk, written and read with Orbax: disk space, unusual paths and damaged files."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from rnn_jax.files import Damaged, reason, sync_tree

SPARE = 2**18
"""Free disk space required in addition to 1.1 times the size of the arrays, in bytes."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write NumPy arrays to the new folder `path`, flush them to disk, and verify them.

    Raises:
      OSError: there is not enough disk space, or the arrays read back differ.
    """
    _check_space(path.parent, sum(array.nbytes for array in arrays.values()))
    with _plain_path(path.parent) as parent, _checkpointer() as checkpointer:
        checkpointer.save(parent / path.name, _stored(arrays))
        checkpointer.wait_until_finished()
    sync_tree(path)
    leaves = {n: {"shape": list(a.shape), "dtype": str(a.dtype)} for n, a in arrays.items()}
    try:
        found = read_arrays(path, leaves)
    except Damaged as error:
        raise OSError(errno.EIO, f"it cannot be read back: {error}") from error
    for name, array in arrays.items():
        if not np.array_equal(as_bytes(found[name]), as_bytes(array)):
            raise OSError(errno.EIO, f"{name} differs when it is read back")


def read_arrays(path: Path, leaves: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Read NumPy arrays from the folder `path`.

    Args:
      path: a folder that `write_arrays` wrote.
      leaves: shape and dtype of each array, by name.

    Raises:
      Damaged: the arrays cannot be read.
    """
    like = {name: jax.ShapeDtypeStruct(a["shape"], a["dtype"]) for name, a in leaves.items()}
    arrays = {name: np.zeros(a.shape, a.dtype) for name, a in like.items() if not a.size}
    # Orbax restores a ShapeDtypeStruct to the devices it was saved from, but a NumPy array to a
    # NumPy array. Zeros take no physical memory until they are written to.
    target = {name: np.zeros(a.shape, a.dtype) for name, a in like.items() if a.size}
    try:
        with _plain_path(path.parent) as parent, _checkpointer() as checkpointer:
            return arrays | jax.device_get(checkpointer.restore(parent / path.name, target))
    except Exception as error:  # Orbax raises plain Exception for damaged files.
        raise Damaged(f"its arrays cannot be read ({reason(error)})") from error


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The bytes of an array, as a vector."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _checkpointer():
    """A checkpointer for this process only, which has a full copy of every array."""
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    return ocp.StandardCheckpointer(multiprocessing_options=options)


def _stored(arrays):
    """The arrays without the empty ones, which Orbax rejects; their shape is enough."""
    return {name: array for name, array in arrays.items() if array.size}


@contextlib.contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """A path to `folder` without special characters: Orbax reads brackets as a glob pattern."""
    with contextlib.ExitStack() as stack:
        descriptor = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        path = Path(f"/proc/self/fd/{descriptor}")
        if not path.exists():
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "folder"
            path.symlink_to(folder)
        yield path


def _check_space(folder, size):
    """Raise OSError unless there is enough disk space.

    TensorStore prints many stack traces when a disk is full. Reserving the space first also checks
    quotas and limits on file sizes.
    """
    needed, trial = int(1.1 * size) + SPARE, folder / "space.tmp"
    try:
        with open(trial, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, needed)
    except (AttributeError, OSError) as error:
        if getattr(error, "errno", None) not in (None, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        if shutil.disk_usage(folder).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
    finally:
        trial.unlink(missing_ok=True)
