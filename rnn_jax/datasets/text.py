"""Text as arrays of character ids: loading, encoding and entropies."""

import contextlib
import hashlib
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnn_jax.datasets.text_files import decoded_blocks
from rnn_jax.errors import InputError
from rnn_jax.files import printable, replacing, writing
from rnn_jax.typing import Int, Integer

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

HELD_OUT, MOST_HELD_OUT = 0.1, 1_000_000
"""Fraction of a text that is held out, at its end, and the maximum number of characters."""

START_ID = -1
"""Id that precedes the first character of a stream. Its one-hot vector is zero."""


class EncodedText(NamedTuple):
    """A text as character ids.

    Attributes:
      ids: the index of each character in the vocabulary, in the smallest sufficient unsigned type.
      vocabulary: the distinct characters in ascending order.
      sha256: the digest of the text as UTF-8, with "\\n" line endings.
    """

    ids: Integer[np.ndarray, " N"]
    vocabulary: str
    sha256: str


def load_text(path: Path | None = None, ids_file: Path | None = None) -> EncodedText:
    """Read and encode a text file, by default `python_source()`.

    The file is decoded twice, block by block, so that at most one block is in memory as a string.

    Args:
      path: the text file.
      ids_file: write the ids to this .npy file, and return them as a memory map of it, so that
        they are not in memory either.

    Raises:
      InputError: as for `read_text`, or the file changed while it was read.
      RunError: `ids_file` cannot be written.
    """
    if path is None:
        source = python_source()
        return _encoded(lambda: [source], path, ids_file)
    return _encoded(lambda: decoded_blocks(path), path, ids_file)


def read_text(path: Path) -> str:
    """Read a UTF-8 file, or a UTF-16 or UTF-32 file with a byte order mark.

    Line endings become "\\n".

    Raises:
      InputError: the file cannot be read, is empty or binary, or has another encoding.
    """
    return "".join(decoded_blocks(path))


def _encoded(
    blocks: Callable[[], Iterable[str]], path: Path | None, ids_file: Path | None
) -> EncodedText:
    seen, count, digest = np.zeros(sys.maxunicode + 1, bool), 0, hashlib.sha256()
    for block in blocks():
        seen[_codes(block)] = True
        count += len(block)
        digest.update(block.encode())
    vocabulary, sha256 = "".join(map(chr, np.flatnonzero(seen))), digest.hexdigest()
    dtype, encoded = _id_dtype(vocabulary), _encoded_again(blocks(), path, vocabulary, sha256)
    if ids_file is None:
        ids, start = np.empty(count, dtype), 0
        for part in encoded:
            ids[start : start + len(part)] = part
            start += len(part)
    else:
        with writing(ids_file), replacing(ids_file) as temporary, open(temporary, "wb") as file:
            header = {"descr": dtype.str, "fortran_order": False, "shape": (count,)}
            np.lib.format.write_array_header_1_0(file, header)
            for part in encoded:
                file.write(part.data)
        ids = np.load(ids_file, mmap_mode="r")
    return EncodedText(ids, vocabulary, sha256)


def _encoded_again(blocks, path, vocabulary, sha256):
    """Yield the ids of each block; raise InputError if the digest of the text changed."""
    digest = hashlib.sha256()
    with contextlib.suppress(InputError):  # A new character, so the digest differs.
        for block in blocks:
            digest.update(block.encode())
            yield encode(block, vocabulary)
    if digest.hexdigest() != sha256:
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
    """Encode each character as its index in a sorted vocabulary.

    The ids have the smallest unsigned type that can hold every index.

    Raises:
      InputError: a character is not in the vocabulary.
    """
    codes, known, size = _codes(text), _codes(vocabulary), len(vocabulary)
    table = np.full(sys.maxunicode + 1, size, np.min_scalar_type(size))
    table[known] = np.arange(size)
    ids = table[codes]
    unknown = ids == size
    if unknown.any():
        raise InputError(
            f"{text[unknown.argmax()]!r} is not one of the {len(known)} characters of the "
            "vocabulary; remove it from the text or prompt."
        )
    return ids.astype(_id_dtype(vocabulary))


def _codes(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _id_dtype(vocabulary):
    return np.min_scalar_type(max(len(vocabulary) - 1, 0))


def shift_right(ids: Integer[np.ndarray, "B N"]) -> Int[np.ndarray, "B N"]:
    """Shift ids by one step: each becomes the id before it, and the first `START_ID`.

    The result has a signed type, which can represent `START_ID`.
    """
    signed = ids.astype(np.result_type(ids.dtype, np.int8))
    return np.pad(signed, ((0, 0), (1, 0)), constant_values=START_ID)[:, :-1]


def hold_out(
    ids: Integer[np.ndarray, " N"],
) -> tuple[Integer[np.ndarray, " K"], Integer[np.ndarray, " M"]]:
    """Split a text into a training part and a held-out end of at least one character."""
    kept = len(ids) - min(max(1, round(HELD_OUT * len(ids))), MOST_HELD_OUT)
    return ids[:kept], np.array(ids[kept:])  # In memory, for evaluation.


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
