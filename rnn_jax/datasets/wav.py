"""WAV files: PCM of up to 32 bits and float samples, read in blocks."""

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import Float

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, printable

RATES = 1_000, 384_000
"""Lowest and highest supported sampling rate [Hz]."""
BLOCK = 1 << 16
"""Default length of a block [samples]."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN = 0xFFFFFFFF
"""Size of a chunk that was written to a pipe, or whose size is in the ds64 chunk."""


class WavReader:
    """The samples of an open WAV file as mono blocks. The file is read forward, so pipes work.

    Attributes:
      name: the name of the file in messages.
      rate: samples per second.
      channels: the number of channels; blocks contain their mean.
      length: the number of samples of a channel that the header declares, or None.

    Raises:
      InputError: the file is not a WAV file, is compressed, or has an invalid header.
    """

    def __init__(self, file: BufferedIOBase, name: str):
        self.name, self._file = name, file
        size = self._read_header()
        self._frame = self.channels * self._bytes
        self.length = None if size in (0, UNKNOWN) else size // self._frame

    def blocks(self, size: int = BLOCK) -> Iterator[np.ndarray]:
        """Yield the samples in blocks [size], float32 from -1 to 1.

        Float samples can be outside that range. A file that ends early causes a warning.

        Raises:
          InputError: float samples that are not finite.
        """
        count = 0
        while self.length is None or count < self.length:
            wanted = size if self.length is None else min(size, self.length - count)
            content = self._file.read(wanted * self._frame)
            content = content[: len(content) // self._frame * self._frame]
            if not content:
                break
            samples = _decode(content, self._bytes, self._floating)
            if self._floating and not np.isfinite(samples).all():
                raise InputError(f"{self.name} has samples that are NaN or infinite; record again.")
            count += len(content) // self._frame
            yield samples.reshape(-1, self.channels).mean(1, dtype=np.float32)
        if self.length is not None and count < self.length:
            warnings.warn(
                f"{self.name} is truncated: its header declares {self.length / self.rate:.2f} s, "
                f"and {count / self.rate:.2f} s follow.",
                stacklevel=2,
            )

    def _read_header(self):
        """Read up to the samples, and return their size [bytes]."""
        start = self._file.read(12)
        if not start:
            raise InputError(f"{self.name} is empty; give a WAV file.")
        if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
            raise InputError(
                f"{self.name} is not a WAV file: it starts with {start[:4]!r}; convert other "
                "formats to WAV first."
            )
        known, large = False, UNKNOWN
        while len(head := self._file.read(8)) == 8:
            kind, size = head[:4], int.from_bytes(head[4:], "little")
            if kind == b"data" and known:
                return large if size == UNKNOWN else size
            content = self._skip(size + size % 2, keep=40)
            if kind == b"fmt ":
                self._read_format(content)
                known = True
            elif kind == b"ds64":
                large = int.from_bytes(content[8:16], "little")
        raise InputError(f"{self.name} is damaged: its header ends before the samples.")

    def _skip(self, size, keep):
        """Read a chunk, and return its first bytes."""
        kept = self._file.read(min(size, keep))
        size -= len(kept)
        while size > 0 and (content := self._file.read(min(size, BLOCK))):
            size -= len(content)
        return kept

    def _read_format(self, content):
        if len(content) < 16:
            raise InputError(f"{self.name} is damaged: its format chunk is too short.")
        tag, self.channels, self.rate, _, frame, bits = struct.unpack("<HHIIHH", content[:16])
        if tag == EXTENSIBLE:
            tag = int.from_bytes(content[24:26], "little")
        self._bytes, self._floating = -(-bits // 8), tag == FLOAT
        if tag not in (PCM, FLOAT):
            raise InputError(
                f"{self.name} holds compressed samples (format {tag:#x}); convert it to PCM first."
            )
        if self._bytes not in ((4, 8) if self._floating else (1, 2, 3, 4)):
            raise InputError(
                f"{self.name} has samples of {bits} bits; expected PCM of 8 to 32 bits, or float "
                "of 32 or 64."
            )
        if not RATES[0] <= self.rate <= RATES[1]:
            raise InputError(
                f"{self.name} declares {self.rate:,} samples per second; expected {RATES[0]:,} to "
                f"{RATES[1]:,}."
            )
        if not self.channels or frame != self.channels * self._bytes:
            raise InputError(
                f"{self.name} is damaged: it declares {self.channels} channels of "
                f"{self._bytes} bytes in {frame} bytes."
            )


@contextmanager
def open_wav(path: str | os.PathLike) -> Iterator[WavReader]:
    """Open a WAV file, or a pipe such as /dev/stdin, for reading in blocks.

    Raises:
      InputError: the file cannot be read, or is not a WAV file; see `WavReader`.
    """
    path = local_path(Path(path))
    name = printable(path)
    try:
        with open(path, "rb") as file:
            yield WavReader(file, name)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {name}.") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}).") from error


def read_wav(file: BufferedIOBase, name: str) -> tuple[Float[np.ndarray, " n"], int]:
    """Read a whole open WAV file: mono samples, float32 from -1 to 1, and their rate [Hz].

    Raises:
      InputError: see `WavReader`.
    """
    reader = WavReader(file, name)
    return np.concatenate([np.zeros(0, np.float32), *reader.blocks()]), reader.rate


def _decode(content, width, floating):
    """Little-endian samples of `width` bytes as floats."""
    if floating:
        return np.frombuffer(content, f"<f{width}")
    if width == 1:
        return np.frombuffer(content, np.uint8) / np.float32(128) - np.float32(1)
    # 24-bit samples become the upper bytes of 32-bit ones.
    padded = np.zeros((len(content) // width, 2 if width == 2 else 4), np.uint8)
    padded[:, -width:] = np.frombuffer(content, np.uint8).reshape(-1, width)
    return padded.view(f"<i{padded.shape[1]}")[:, 0] / np.float32(2 ** (8 * padded.shape[1] - 1))
