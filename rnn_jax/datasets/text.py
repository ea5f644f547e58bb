"""Text as arrays of character ids: loading, encoding, training windows and entropies."""

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

SOURCE_MODULES = (
    *("__future__", "_markupbase", "_py_abc", "_threading_local", "_weakrefset"),
    *("asyncio/protocols", "concurrent/futures/_base", "difflib", "email/_encoded_words"),
    *("email/contentmanager", "email/headerregistry", "email/quoprimime", "graphlib", "heapq"),
    *("json/__init__", "multiprocessing/heap", "multiprocessing/reduction"),
    *("multiprocessing/sharedctypes", "optparse", "pyclbr", "string", "tomllib/_parser"),
    *("tracemalloc", "urllib/robotparser", "weakref", "wsgiref/headers", "xml/dom/pulldom"),
    *("xml/dom/xmlbuilder", "xml/etree/ElementPath", "xml/sax/handler", "xml/sax/saxutils"),
    "zoneinfo/_common",
)
"""Standard-library modules whose source is identical in Python 3.11, 3.12 and 3.13."""

HELD_OUT = 0.1
"""Fraction of a text, at its end, that is held out."""

START_ID = -1
"""Id that precedes the first character of a stream. Its one-hot vector is zero."""


class EncodedText(NamedTuple):
    """A text as character ids.

    Attributes:
      ids: the index of each character in the vocabulary, of the smallest sufficient unsigned type.
      vocabulary: the distinct characters in ascending order.
      sha256: the digest of the text as UTF-8, with "\\n" line ends.
    """

    ids: Integer[np.ndarray, " N"]
    vocabulary: str
    sha256: str


def load_text(path: Path | None = None) -> EncodedText:
    """Read and encode a text file, by default `python_source()`.

    The file is decoded twice, block by block, so that at most one block is in memory as a string.

    Raises:
      InputError: as for `read_text`, or the file changed while it was read.
    """
    if path is None:
        source = python_source()
        return _encoded(lambda: [source], path)
    return _encoded(lambda: decoded_blocks(path), path)


def read_text(path: Path) -> str:
    """Read a UTF-8 file, or a UTF-16 or UTF-32 file with a byte order mark.

    Line ends become "\\n".

    Raises:
      InputError: the file cannot be read, is empty or binary, or has another encoding.
    """
    return "".join(decoded_blocks(path))


def _encoded(blocks: Callable[[], Iterable[str]], path: Path | None) -> EncodedText:
    known, count, digest = set(), 0, hashlib.sha256()
    for block in blocks():
        known.update(block)
        count += len(block)
    vocabulary = "".join(sorted(known))
    ids, start = np.empty(count, _id_dtype(vocabulary)), 0
    for block in blocks():
        if start + len(block) > count or not known.issuperset(block):
            break
        ids[start : start + len(block)] = encode(block, vocabulary)
        start += len(block)
        digest.update(block.encode())
    else:
        if start == count:
            return EncodedText(ids, vocabulary, digest.hexdigest())
    raise InputError(
        f"{printable(path)} changed while it was read; try again when nothing writes to it."
    )


def python_source() -> str:
    """Concatenate the source of `SOURCE_MODULES`: 509,345 characters, under Python's license.

    Raises:
      InputError: this Python installation has no source of the standard library.
    """
    library = Path(sysconfig.get_path("stdlib"))
    try:
        return "".join(
            (library / f"{name}.py").read_text(encoding="utf-8") for name in sorted(SOURCE_MODULES)
        )
    except OSError as error:
        raise InputError(
            f"this Python installation has no source of {Path(error.filename).stem}, a part of the "
            "default text; give a text file."
        ) from error


def encode(text: str, vocabulary: str) -> Integer[np.ndarray, " N"]:
    """Encode each character as its index in a vocabulary in ascending order.

    The ids have the smallest unsigned type that holds every index.

    Raises:
      InputError: a character is not in the vocabulary.
    """
    codes, known = (
        np.frombuffer(part.encode("utf-32-le", "surrogatepass"), np.uint32)
        for part in (text, vocabulary)
    )
    ids = np.searchsorted(known, codes).clip(max=len(known) - 1)
    unknown = known[ids] != codes
    if unknown.any():
        raise InputError(
            f"{text[unknown.argmax()]!r} is not one of the {len(known)} characters of the "
            "vocabulary; remove it from the text or prompt."
        )
    return ids.astype(_id_dtype(vocabulary))


def _id_dtype(vocabulary):
    return np.min_scalar_type(max(len(vocabulary) - 1, 0))


def windows(
    ids: Integer[np.ndarray, " N"], batch_size: int, length: int
) -> tuple[Int[np.ndarray, " M"], Integer[np.ndarray, "M T"], Bool[np.ndarray, " M"]]:
    """Cut a text into training windows, in the order that `StreamOrder` expects.

    The text is split into `batch_size` streams of equal length, and each stream into windows of
    `length` characters. Trailing characters that do not fill a window in every stream are dropped.
    A model reads a window from the character before it to its second-last character, and predicts
    the window.

    Returns:
      The character before each window [M] (`START_ID` at the start of a stream), the windows [M, T]
      as a view of `ids`, and a flag [M] for windows at the start of a stream.

    Raises:
      InputError: the text is shorter than one window for every stream.
    """
    check_size("batch_size", batch_size)
    check_size("length", length)
    count = len(ids) // (batch_size * length)
    if not count:
        raise InputError(
            f"{batch_size} streams of windows of {length} characters need {batch_size * length:,} "
            f"characters to train on, got {len(ids):,}; give a longer text, a smaller batch size, "
            "or a shorter window."
        )
    targets = ids[: batch_size * count * length].reshape(-1, length)
    before = shift_right(targets[:, -1].reshape(batch_size, count)).astype(np.int32)
    return before.ravel(), targets, np.tile(np.arange(count) == 0, batch_size)


def shift_right(ids: Integer[np.ndarray, "B N"]) -> Int[np.ndarray, "B N"]:
    """Shift ids by one step: each becomes the id before it, the first `START_ID`.

    The result has a signed type, which can represent `START_ID`.
    """
    signed = ids.astype(np.result_type(ids.dtype, np.int8))
    return np.pad(signed, ((0, 0), (1, 0)), constant_values=START_ID)[:, :-1]


def hold_out(
    ids: Integer[np.ndarray, " N"],
) -> tuple[Integer[np.ndarray, " K"], Integer[np.ndarray, " M"]]:
    """Split a text into the part to train on and its last tenth, at least one character."""
    kept = len(ids) - max(1, round(HELD_OUT * len(ids)))
    return ids[:kept], ids[kept:]


def entropies(ids: Integer[np.ndarray, " N"]) -> dict[str, float]:
    """`unigram_bits` and `bigram_bits` of a text, by name."""
    return {"unigram_bits": unigram_bits(ids), "bigram_bits": bigram_bits(ids)}


def unigram_bits(ids: Integer[np.ndarray, " N"]) -> float:
    """Entropy of the character frequencies [bits per character].

    No model without context can do better on this text.
    """
    return _entropy(np.unique(ids, return_counts=True)[1])


def bigram_bits(ids: Integer[np.ndarray, " N"]) -> float:
    """Conditional entropy of a character given the previous one [bits per character].

    The pairs are counted in this text. It is 0 for a text of one character.
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
