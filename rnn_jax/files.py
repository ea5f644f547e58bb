"""Local paths, and files that are written atomically or detected as damaged."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from rnn_jax.errors import InputError, RunError


def local_path(path: str | Path) -> Path:
    """Replace a leading `~` in a path with the home folder.

    Raises:
      InputError: the path is a URL such as gs://bucket/folder, contains a NUL character, or starts
        with `~` when that home folder is not known.
    """
    text = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        # Path turns the two slashes of a URL into one.
        scheme, _, rest = text.partition(":")
        url = f"{scheme}://{printable(rest.lstrip('/'))}"
        raise InputError(
            f"{url} is a URL, and only local paths can be used; copy it to this machine or mount "
            "it, and give that path."
        )
    if "\0" in text:
        raise InputError(f"the path {printable(text)} contains a NUL character; give another path.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"no home folder is known for {printable(text)}; give the path without ~, or set $HOME."
        ) from error


def printable(text: object) -> str:
    """Escape control characters, and bytes that are not valid text."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Context manager for writing a file: an OSError becomes a RunError that names the file."""
    try:
        yield path
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}); free some disk space, then "
            "start again, a training run with `resume=True`."
        ) from error


class Damaged(Exception):
    """Data on disk differs from what was saved; the message names the difference."""


class Incomplete(Damaged):
    """Data on disk is incomplete because saving was interrupted."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context manager for replacing a file atomically: write to the temporary path it yields."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete temporary files that killed processes left in a folder.

    No other process may write to the folder at the same time.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if re.fullmatch(r"\..+\.[0-9a-f]{32}", entry.name, re.DOTALL):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems cannot flush folders. For a file, this is an error.
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush all files in a folder, recursively, to disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def write_sealed(path: Path, contents: Mapping[str, Any]) -> None:
    """Write `contents` with their SHA-256 to a JSON file, atomically."""
    text = json.dumps(contents, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"sha256": digest, "contents": text}))


def read_sealed(path: Path) -> dict[str, Any]:
    """Read the contents of a file that `write_sealed` wrote.

    Raises:
      Incomplete: the file does not exist.
      Damaged: the file cannot be read, or its contents have changed.
    """
    try:
        stored = json.loads(path.read_text())
        text = stored["contents"]
        intact = hashlib.sha256(text.encode()).hexdigest() == stored["sha256"]
    except FileNotFoundError as error:
        raise Incomplete(f"it has no {path.name}: saving was interrupted") from error
    except NotADirectoryError as error:
        raise Damaged(f"{path.parent.name} is not a folder") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{path.name} cannot be read ({reason(error)})") from error
    if not intact:
        raise Damaged(f"the SHA-256 of {path.name} differs from the saved one")
    return json.loads(text)


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder, by relative path.

    Raises:
      Damaged: a file cannot be read.
    """
    digests = {}
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file():
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                digests[path.relative_to(folder).as_posix()] = digest
        except OSError as error:
            raise Damaged(f"{path.name} cannot be read ({reason(error)})") from error
    return digests


def reason(error: Exception) -> str:
    """First line of the message of an exception."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.partition("\n")[0][:200]


def read_json(path: Path) -> dict | None:
    """Read a JSON object from a file; None if the file does not exist.

    Raises:
      InputError: the file is not a JSON object.
    """
    if not os.path.lexists(path):
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object: it was edited, or is damaged; restore it.")
    return content
