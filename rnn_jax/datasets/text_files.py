"""Text files, decoded block by block."""

import codecs
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, printable

BLOCK = 1 << 20
"""Size of a block [characters]."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    # Before UTF-16, since the mark of UTF-32-LE starts with that of UTF-16-LE.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decoded_blocks(path: Path) -> Iterator[str]:
    """Yield the text of a UTF-8 file, or a UTF-16 or UTF-32 file with a byte order mark, in blocks.

    Line endings become "\\n".

    Raises:
      InputError: the file cannot be read, is empty or binary, or has another encoding.
    """
    path = local_path(path)
    name, encoding = printable(path), "utf-8"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise InputError(f"{name} cannot be read: it is {kind}; give a text file.")
        with open(path, "rb") as file:
            start = file.read(BLOCK)
        if not start:
            raise InputError(f"{name} is empty; give a text of at least 100,000 characters.")
        encoding = next((_MARKS[mark] for mark in _MARKS if start.startswith(mark)), "utf-8")
        if guess := encoding == "utf-8" and _guess_encoding(start):
            raise _not_utf8(name, guess)
        empty = True
        with open(path, encoding=encoding) as text:
            while block := text.read(BLOCK):
                if "\0" in block:
                    raise InputError(
                        f"{name} contains NUL characters, so it is binary or damaged; "
                        "give a text file."
                    )
                empty = False
                yield block
        if empty:
            raise InputError(f"{name} is empty except for a byte order mark; give a longer text.")
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); give a text file.") from error
    except UnicodeError as error:
        if encoding in ("utf-16", "utf-32"):
            raise InputError(
                f"{name} starts with the byte order mark of {encoding.upper()} but is not valid "
                f"{encoding.upper()}; it may be truncated or damaged."
            ) from error
        raise _not_utf8(name, _first_bad_byte(path)) from error


def _guess_encoding(start: bytes) -> str | None:
    """Detect UTF-16 or UTF-32 without a byte order mark by the positions of zero bytes."""
    if start.count(0) < 4:  # A binary file may have a few stray zeros.
        return None
    words = np.frombuffer(start[: len(start) // 4 * 4], np.uint8).reshape(-1, 4)
    zeros = np.mean(words == 0, axis=0)
    if zeros.max() < 0.05:
        return None
    few = 0.01
    patterns = {
        "UTF-32LE": zeros[2] > 0.5 and zeros[3] > 0.99 and zeros[0] < few,
        "UTF-32BE": zeros[1] > 0.5 and zeros[0] > 0.99 and zeros[3] < few,
        "UTF-16LE": max(zeros[0], zeros[2]) < few,
        "UTF-16BE": max(zeros[1], zeros[3]) < few,
    }
    return next((name for name, fits in patterns.items() if fits), None)


def _not_utf8(name, found):
    if isinstance(found, str):
        return InputError(
            f"{name} looks like {found} without a byte order mark; convert it first with "
            f"iconv -f {found} -t UTF-8."
        )
    position, byte = found
    return InputError(
        f"{name} is not UTF-8: byte {byte:#04x} at position {position:,}; convert it first, e.g. "
        "with iconv -f latin1 -t utf-8, replacing latin1 by the encoding of the file."
    )


def _first_bad_byte(path):
    """Find the position and value of the first byte that is not UTF-8."""
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return error.start, content[error.start]
    return 0, content[0]
