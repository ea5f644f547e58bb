"""Reading and writing the files of exported models."""

from pathlib import Path

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, printable, replacing


def read_file(path: str | Path) -> bytes:
    """The content of a file.

    Raises:
      InputError: it cannot be read.
    """
    path = local_path(Path(path))
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be read ({error.strerror}).") from error


def write_file(path: str | Path, content: bytes | bytearray) -> None:
    """Write a file atomically.

    Raises:
      InputError: it cannot be written.
    """
    path = local_path(Path(path))
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be written ({error.strerror}).") from error
