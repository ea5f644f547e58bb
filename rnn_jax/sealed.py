"""Files that are whole, or known to be damaged: JSON with its own SHA-256, lists of digests."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4


class Damaged(Exception):
    """What is on disk is not what was saved; the message says what is wrong with it."""


class Incomplete(Damaged):
    """What is on disk was cut off while it was saved."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` at the end, or nothing does."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_sealed(path: Path, contents: Mapping[str, Any]) -> None:
    """Write `contents` and their SHA-256; a reader finds all of it or no file."""
    text = json.dumps(contents, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"sha256": digest, "contents": text}))


def read_sealed(path: Path) -> dict[str, Any]:
    """The contents of a file that `write_sealed` wrote.

    Raises:
      Incomplete: there is no such file.
      Damaged: it holds something else than was written.
    """
    if not path.exists():
        raise Incomplete(f"it has no {path.name}, as one cut off while it was saved")
    try:
        stored = json.loads(path.read_text())
        text = stored["contents"]
        intact = hashlib.sha256(text.encode()).hexdigest() == stored["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path.name} cannot be read ({reason(error)})") from error
    if not intact:
        raise Damaged(f"{path.name} has another SHA-256 than it was saved with")
    return json.loads(text)


def file_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below a folder, by its path within."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def reason(error: Exception) -> str:
    """What an exception says, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.partition("\n")[0][:200]
