"""Training windows of a text."""

import numpy as np

from rnn_jax.datasets.sources import Source, mapped
from rnn_jax.datasets.text import START_ID
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Int, Integer


class Windows(Source):
    """Training windows of a text, in the order that `StreamOrder` expects.

    The text is split into `batch_size` streams of equal length, and each stream into windows of
    `length` characters. Trailing characters that do not fill a window in every stream are dropped.
    A model reads a window from the character before it to its second-to-last character, and
    predicts the window.

    A batch is the character before each window [B] (`START_ID` at the start of a stream), the
    windows [B, T], and a flag [B] for windows at the start of a stream.

    Args:
      ids: the text, which may be a memory map.
      batch_size: number of streams.
      length: characters in a window.

    Attributes:
      per_stream: number of windows in a stream.

    Raises:
      InputError: the text is shorter than one window for every stream.
    """

    def __init__(self, ids: Integer[np.ndarray, " N"], batch_size: int, length: int):
        check_size("batch_size", batch_size)
        check_size("length", length)
        self.per_stream, self._length = len(ids) // (batch_size * length), length
        if not self.per_stream:
            raise InputError(
                f"{batch_size} streams of windows of {length} characters need "
                f"{batch_size * length:,} characters to train on, got {len(ids):,}; give a longer "
                "text, a smaller batch size, or a shorter window."
            )
        used = ids[: batch_size * self.per_stream * length]
        self._ids, self._windows = mapped(used), mapped(used.reshape(-1, length))

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, indices: Int[np.ndarray, " B"]) -> tuple:
        before, begins = self._starts(indices)
        return before, self._windows[indices], begins

    def load(self) -> tuple:
        """All windows as one batch; for a text in memory, the windows are a view of it."""
        before, begins = self._starts(np.arange(len(self)))
        return before, self._windows[:], begins

    def _starts(self, indices):
        begins = indices % self.per_stream == 0
        # No character precedes the first window; index -1 is an unrelated one.
        last = self._ids[self._length * indices.astype(np.int64) - 1]
        return np.where(begins, START_ID, last.astype(np.int32)), begins
