"""Text as arrays of character ids: files, encoding, training windows and entropies."""

import hashlib
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnn_jax.datasets.text_files import decoded_blocks
from rnn_jax.errors import InputError, check_size
from rnn_jax.files import printable
from rnn_jax.typing import Bool, Int, Integer

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


class EncodedText(NamedTuple):
    """A text as ids.

    Attributes:
      ids: the place of each character in the vocabulary, of the smallest unsigned type that holds
        all places.
      vocabulary: the distinct characters in ascending order.
      sha256: the digest of the text as UTF-8 with newlines as line ends.
    """

    ids: Integer[np.ndarray, " N"]
    vocabulary: str
    sha256: str


def load_text(path: Path | None = None) -> EncodedText:
    """Read and encode a text file, by default `python_source()`.

    The file is decoded block by block, twice: no more than a block of it is ever held as a string.

    Raises:
      InputError: see `read_text`, or the file changed while it was read.
    """
    if path is None:
        source = python_source()
        return _encoded(lambda: [source], path)
    return _encoded(lambda: decoded_blocks(path), path)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, or of a UTF-16 or UTF-32 file with a byte order mark.

    Every line end becomes one newline.

    Raises:
      InputError: the file cannot be read, is in another encoding or binary, or is empty.
    """
    return "".join(decoded_blocks(path))


def _encoded(blocks: Callable[[], Iterable[str]], path: Path | None) -> EncodedText:
    known, count, digest = set(), 0, hashlib.sha256()
    for block in blocks():
        known.update(block)
        count += len(block)
    vocabulary = "".join(sorted(known))
    ids, start = np.empty(count, _smallest(vocabulary)), 0
    for block in blocks():
        if start + len(block) > count or not known.issuperset(block):
            break
        ids[start : start + len(block)] = encode(block, vocabulary)
        start += len(block)
        digest.update(block.encode())
    else:
        if start == count:
            return EncodedText(ids, vocabulary, digest.hexdigest())
    raise InputError(f"{printable(path)} changed while it was read; run again when it is complete.")


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


def encode(text: str, vocabulary: str) -> Integer[np.ndarray, " N"]:
    """The place of each character in the vocabulary, whose characters are in ascending order.

    The ids are of the smallest unsigned type that holds all places.

    Raises:
      InputError: a character that the vocabulary lacks.
    """
    codes, known = (
        np.frombuffer(part.encode("utf-32-le", "surrogatepass"), np.uint32)
        for part in (text, vocabulary)
    )
    places = np.searchsorted(known, codes).clip(max=len(known) - 1)
    unknown = known[places] != codes
    if unknown.any():
        raise InputError(
            f"{text[unknown.argmax()]!r} is none of the {len(known)} characters of the text; "
            "leave it out of the --prompt."
        )
    return places.astype(_smallest(vocabulary))


def _smallest(vocabulary):
    return np.min_scalar_type(max(len(vocabulary) - 1, 0))


def windows(
    ids: Integer[np.ndarray, " N"], batch_size: int, length: int
) -> tuple[Int[np.ndarray, " M"], Integer[np.ndarray, "M T"], Bool[np.ndarray, " M"]]:
    """The character in front of each window, its characters, and whether a stream begins there.

    The text is cut into `batch_size` streams of one length, and each stream into windows of
    `length` characters, in the order that `StreamOrder` expects; characters that do not fill a
    window in every stream are left out. A window is read from the character in front of it, first
    of all `NOTHING`, to its last but one. The windows are a view of `ids`.

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
    targets = ids[: batch_size * count * length].reshape(-1, length)
    before = shifted(targets[:, -1].reshape(batch_size, count)).astype(np.int32)
    return before.ravel(), targets, np.tile(np.arange(count) == 0, batch_size)


def shifted(ids: Integer[np.ndarray, "B N"]) -> Int[np.ndarray, "B N"]:
    """What has been read before each character: the one in front of it, first `NOTHING`.

    Unsigned ids become a signed type, which holds `NOTHING` too.
    """
    signed = ids.astype(np.result_type(ids.dtype, np.int8))
    return np.pad(signed, ((0, 0), (1, 0)), constant_values=NOTHING)[:, :-1]


def unigram_bits(ids: Integer[np.ndarray, " N"]) -> float:
    """Entropy [bits] of a character: no code that has one table of frequencies needs fewer."""
    return _entropy(np.unique(ids, return_counts=True)[1])


def bigram_bits(ids: Integer[np.ndarray, " N"]) -> float:
    """Entropy [bits] of a character given the one before it, over the pairs of the text itself.

    It is 0 for a text of one character.
    """
    if len(ids) < 2:
        return 0.0
    count = int(ids.max()) + 1
    codes = ids[:-1].astype(np.min_scalar_type(count * count))
    codes *= codes.dtype.type(count)
    codes += ids[1:].astype(codes.dtype)
    pairs = np.unique(codes, return_counts=True)[1]
    return max(0.0, _entropy(pairs) - unigram_bits(ids[:-1]))


def _entropy(counts):
    shares = counts / counts.sum()
    return float(0 - (shares * np.log2(shares)).sum())
