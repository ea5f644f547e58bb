"""Text files decoded block by block."""

import codecs
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, printable

BLOCK = 1 << 20
"""Characters of a file that are decoded at a time."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    # A UTF-32 mark begins like one of UTF-16, so it comes first.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decoded_blocks(path: Path) -> Iterator[str]:
    """The text of a UTF-8 file, in blocks; of UTF-16 or UTF-32 if it has a byte order mark.

    Every line end becomes one newline.

    Raises:
      InputError: the file cannot be read, is in another encoding or binary, or is empty.
    """
    path = local_path(path)
    name, encoding = printable(path), "utf-8"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise InputError(f"{name} cannot be read: it is {kind}; give a text file with --text.")
        with open(path, "rb") as file:
            start = file.read(BLOCK)
        if not start:
            raise InputError(f"{name} is empty; give a text of 100,000 characters or more.")
        encoding = next((_MARKS[mark] for mark in _MARKS if start.startswith(mark)), "utf-8")
        if guess := encoding == "utf-8" and _unmarked(start):
            raise _not_utf8(name, guess)
        empty = True
        with open(path, encoding=encoding) as text:
            while block := text.read(BLOCK):
                if "\0" in block:
                    raise InputError(
                        f"{name} holds NUL characters: it is a binary file, or damaged; "
                        "give a text file with --text."
                    )
                empty = False
                yield block
        if empty:
            raise InputError(f"{name} is empty but for a byte order mark; give a longer text.")
    except OSError as error:
        raise InputError(
            f"{name} cannot be read ({error.strerror}); give a text file with --text."
        ) from error
    except UnicodeError as error:
        if encoding in ("utf-16", "utf-32"):
            raise InputError(
                f"{name} starts with the byte order mark of {encoding.upper()} and is not valid "
                f"{encoding.upper()}: it is cut off, or damaged."
            ) from error
        raise _not_utf8(name, _first_bad_byte(path)) from error


def _unmarked(start: bytes) -> str | None:
    """The encoding of UTF-16 or UTF-32 without a byte order mark, judged by its zero bytes."""
    if start.count(0) < 4:  # A stray one does not make it UTF-16.
        return None
    start = np.frombuffer(start[: len(start) // 4 * 4], np.uint8)
    zeros = np.mean(start.reshape(-1, 4) == 0, axis=0)
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
    place, byte = found
    return InputError(
        f"{name} is not UTF-8: byte {byte:#04x} at {place:,}; convert it first, e.g. with "
        "iconv -f latin1 -t utf-8, with the file's own encoding in the place of latin1."
    )


def _first_bad_byte(path):
    """The place and value of the first byte of a file that is not UTF-8."""
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return error.start, content[error.start]
    return 0, content[0]
