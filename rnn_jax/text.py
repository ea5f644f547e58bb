"""Text as numbers: what is read, how it is cut into streams, how much each character tells."""

import sysconfig
from pathlib import Path

import numpy as np

from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Bool, Int

MODULES = (
    *("__future__", "_markupbase", "_py_abc", "_threading_local", "_weakrefset"),
    *("asyncio/protocols", "concurrent/futures/_base", "difflib", "email/_encoded_words"),
    *("email/contentmanager", "email/headerregistry", "email/quoprimime", "graphlib", "heapq"),
    *("json/__init__", "multiprocessing/heap", "multiprocessing/reduction"),
    *("multiprocessing/sharedctypes", "optparse", "pyclbr", "string", "tomllib/_parser"),
    *("tracemalloc", "urllib/robotparser", "weakref", "wsgiref/headers", "xml/dom/pulldom"),
    *("xml/dom/xmlbuilder", "xml/etree/ElementPath", "xml/sax/handler", "xml/sax/saxutils"),
    "zoneinfo/_common",
)
"""Modules of the standard library whose source is the same in Python 3.11, 3.12 and 3.13."""

NOTHING = -1
"""Stands in front of the first character of a stream, where nothing was read yet."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with every end of a line as one newline.

    Raises:
      InputError: it cannot be read, is not UTF-8, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give a text file with --text."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at {error.start:,}; "
            "convert it first, e.g. with iconv -f latin1 -t utf-8."
        ) from error
    if not text:
        raise InputError(f"{path} is empty; give a text of 100,000 characters or more.")
    return text


def python_source() -> str:
    """The source of `MODULES`, one after the other: 509,000 characters under Python's licence.

    Raises:
      InputError: this Python comes without them.
    """
    library = Path(sysconfig.get_path("stdlib"))
    try:
        return "".join(
            (library / f"{name}.py").read_text(encoding="utf-8") for name in sorted(MODULES)
        )
    except OSError as error:
        raise InputError(
            f"this Python comes without the source of {Path(error.filename).stem}; "
            "give another text with --text."
        ) from error


def encode(text: str, vocabulary: str) -> Int[np.ndarray, " N"]:
    """The place of each character in the vocabulary, whose characters are in ascending order.

    Raises:
      InputError: a character that the vocabulary lacks.
    """
    codes, known = (
        np.frombuffer(part.encode("utf-32-le"), np.uint32) for part in (text, vocabulary)
    )
    places = np.searchsorted(known, codes).clip(max=len(known) - 1)
    unknown = known[places] != codes
    if unknown.any():
        raise InputError(
            f"{text[unknown.argmax()]!r} is none of the {len(known)} characters of the text; "
            "leave it out of the --prompt."
        )
    return places.astype(np.int32)


def windows(
    ids: Int[np.ndarray, " N"], batch_size: int, length: int
) -> tuple[Int[np.ndarray, "M T"], Int[np.ndarray, "M T"], Bool[np.ndarray, " M"]]:
    """What is read, what comes next, and whether a stream begins, as `StreamOrder` takes them.

    The text is cut into `batch_size` streams of one length, and each stream into windows of
    `length` characters; what does not fill a window in every stream is left out. Window by window,
    a stream reads the character in front of each that it is to tell, first of all `NOTHING`.

    Raises:
      InputError: the text is shorter than one window of every stream.
    """
    check_size("batch_size", batch_size)
    check_size("length", length)
    count = len(ids) // (batch_size * length)
    if not count:
        raise InputError(
            f"there are {len(ids):,} characters to train on and {batch_size} streams of windows of "
            f"{length} need {batch_size * length:,}; give a longer text, or a smaller --batch-size "
            "or --window."
        )
    streams = ids[: batch_size * count * length].reshape(batch_size, -1)
    xs, targets = (part.reshape(-1, length) for part in (shifted(streams), streams))
    return xs, targets, np.tile(np.arange(count) == 0, batch_size)


def shifted(ids: Int[np.ndarray, "B N"]) -> Int[np.ndarray, "B N"]:
    """What has been read when each character is to be told: the one in front of it."""
    return np.pad(ids, ((0, 0), (1, 0)), constant_values=NOTHING)[:, :-1]


def unigram_bits(ids: Int[np.ndarray, " N"]) -> float:
    """Entropy [bits] of a character: no code that has one table of frequencies needs fewer."""
    return _entropy(np.unique(ids, return_counts=True)[1])


def bigram_bits(ids: Int[np.ndarray, " N"]) -> float:
    """Entropy [bits] of a character given the one before it, over the pairs of the text itself."""
    pairs = np.unique(np.stack([ids[:-1], ids[1:]]), axis=1, return_counts=True)[1]
    return max(0.0, _entropy(pairs) - unigram_bits(ids[:-1]))


def _entropy(counts):
    shares = counts / counts.sum()
    return float(0 - (shares * np.log2(shares)).sum())
