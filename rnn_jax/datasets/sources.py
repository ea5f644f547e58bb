"""Data sets whose examples are read, decoded or computed when a training step needs them."""

import abc
import mmap
from typing import Any

import jax
import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.typing import Data, Int, Shaped


class Source(abc.ABC):
    """A data set of examples that are created on demand; `source[indices]` is a batch.

    Equal indices must give equal examples, and all batches of one size must have equal shapes and
    dtypes. A source is pickled for each worker process, so keep large data in files; see `Mapped`.
    """

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abc.abstractmethod
    def __getitem__(self, indices: Int[np.ndarray, " B"]) -> Data:
        """The examples `indices` as NumPy arrays [B, ...]."""

    def load(self) -> Data:
        """All examples as arrays [N, ...]."""
        return self[np.arange(len(self))]


class Arrays(Source):
    """The examples in a pytree of arrays [N, ...], some of which may be memory maps.

    Raises:
      InputError: there are no arrays, or their lengths differ.
    """

    def __init__(self, arrays: Data):
        self._arrays = jax.tree.map(mapped, arrays)
        lengths = {len(leaf) for leaf in jax.tree.leaves(self._arrays)}
        if len(lengths) != 1:
            raise InputError(
                "the arrays of a data set must have one example for each index of axis 0, got "
                f"lengths {sorted(lengths)}."
            )
        (self._length,) = lengths

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, indices: Int[np.ndarray, " B"]) -> Data:
        return jax.tree.map(lambda leaf: leaf[indices], self._arrays)


class Mapped:
    """A memory-mapped array, from which indexing reads copies.

    Pages are released after reading, so that a process does not grow to the size of the file.
    Pickling stores the location in the file, not the contents.

    Args:
      array: a read-only memory map in C order, such as `numpy.load(path, mmap_mode="r")`, or a
        part of one.
    """

    def __init__(self, array: np.memmap):
        self._array, self._map = array, vars(array)["_mmap"]

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, indices: Int[np.ndarray, " B"] | slice) -> Shaped[np.ndarray, "B ..."]:
        rows = np.array(self._array[indices])
        if hasattr(mmap, "MADV_DONTNEED"):  # Not on Windows.
            self._map.madvise(mmap.MADV_DONTNEED)
        return rows

    def __reduce__(self):
        # The offset of a slice is that of the whole array, and NumPy maps a file from the
        # preceding multiple of the allocation granularity.
        array, first = self._array, np.frombuffer(self._map, np.uint8).ctypes.data
        start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        offset = start + array.ctypes.data - first
        return _reopened, (array.filename, array.dtype, offset, array.shape)


def mapped(array: Any) -> Mapped | np.ndarray:
    """Return an array as `Mapped` if possible; otherwise as a NumPy array."""
    if isinstance(array, np.memmap) and array.mode == "r" and array.flags.c_contiguous:
        return Mapped(array)
    return np.asarray(array)


def _reopened(filename, dtype, offset, shape):
    return Mapped(np.memmap(filename, dtype, "r", offset, shape))
