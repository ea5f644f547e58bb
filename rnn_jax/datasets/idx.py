"""IDX files, the format of MNIST: plain or compressed with gzip."""

import gzip
import math
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from rnn_jax.errors import InputError

LIMIT = 2**30
"""Maximum size of an array [bytes]. A small compressed file can expand to far more."""
_GZIP = b"\x1f\x8b"
_TYPES = {8: "uint8", 9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}


def is_idx(path: str | os.PathLike) -> bool:
    """Return whether a file, decompressed if necessary, starts like an IDX file."""
    with open(path, "rb") as file:
        head = file.read(2)
        file.seek(0)
        try:
            start = (gzip.GzipFile(fileobj=file) if head == _GZIP else file).read(4)
        except (OSError, EOFError, zlib.error):
            return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _TYPES


def read_idx(path: str | os.PathLike) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of bytes, plain or gzipped, on disk or as a member of a .zip file.

    Raises:
      InputError: the file is not an IDX file of bytes, is damaged, or declares more than `LIMIT`
        bytes.
    """
    path = Path(path)
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    try:
        if archive is None:
            with open(path, "rb") as file:
                return _read(file, path)
        member = path.relative_to(archive).as_posix()
        with zipfile.ZipFile(archive) as members, members.open(member) as file:
            return _read(file, path)
    except (OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read as an IDX file: {error}.") from error


def _read(file, path):
    if file.read(2) == _GZIP:
        file.seek(0)
        file = gzip.GzipFile(fileobj=file)
    else:
        file.seek(0)
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise InputError(f"{path} is not an IDX file: it starts with {head!r}.")
    if head[2] != 8:
        raise InputError(f"{path} must hold bytes (uint8), got {_TYPES[head[2]]}.")
    rank = head[3]
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise InputError(f"{path} is truncated within its IDX header.")
    shape = tuple(int.from_bytes(sizes[4 * axis :][:4], "big") for axis in range(rank))
    declared = math.prod(shape)
    if declared > LIMIT or rank > 8:
        raise InputError(
            f"{path} declares an array {list(shape)[:8]} of {declared:.3g} bytes; "
            f"at most {LIMIT:,} are supported."
        )
    content = bytearray()
    # Read in pieces: one large read would allocate the size that a damaged header claims.
    while piece := file.read(min(declared + 1 - len(content), 2**20)):
        content += piece
    if len(content) != declared:
        found = "more" if len(content) > declared else f"{len(content):,}"
        raise InputError(
            f"{path} is damaged: its header declares {declared:,} bytes {list(shape)}, "
            f"but {found} follow."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
