"""Paths that a user gives, made ready for the local file system."""

import os
import re
from pathlib import Path

from rnn_jax.errors import InputError


def local_path(path: str | Path) -> Path:
    """`path` with a leading `~` replaced by the home folder.

    Raises:
      InputError: the path is a URL such as gs://bucket/folder, holds a NUL character, or starts
        with `~` where no such home folder is known.
    """
    text = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        # A Path joins the two slashes of a URL into one.
        scheme, _, rest = text.partition(":")
        url = f"{scheme}://{printable(rest.lstrip('/'))}"
        raise InputError(
            f"{url} is a URL, and only local paths can be used; copy it to this machine or mount "
            "it, and give that path."
        )
    if "\0" in text:
        raise InputError(f"the path {printable(text)} holds a NUL character; give another path.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"no home folder is known for {printable(text)}; give the path without ~, or set $HOME."
        ) from error


def printable(text: object) -> str:
    """`text` with control characters and bytes that are no text written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )
