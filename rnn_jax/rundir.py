"""The folder of a run: rows and facts written whole or not at all, and none of them overwritten."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax

from rnn_jax.errors import InputError, RunError
from rnn_jax.mesh import largest
from rnn_jax.sealed import replacing


class RunDir:
    """A folder that only the first process of a run writes to.

    Attributes:
      path: the folder.
      writes: whether this process writes; in the others, writing does nothing.

    Raises:
      InputError: the folder cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self.writes = jax.process_index() == 0
        if not self.writes:
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"the folder {path} cannot be written ({error.strerror}); "
                "give another one with --out-dir."
            ) from error

    def write(self, name: str, content: Mapping) -> Path:
        """Write a JSON file, whole or not at all.

        Raises:
          RunError: it cannot be written.
        """
        return self.write_text(name, json.dumps(content, indent=2, default=str) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of UTF-8 text, whole or not at all.

        Raises:
          RunError: it cannot be written.
        """
        path = self.path / name
        if self.writes:
            with writing(path), replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return path

    def append(self, name: str, row: Mapping) -> None:
        """Add one row to a file of JSON lines; the system has it when this returns.

        Raises:
          RunError: it cannot be written.
        """
        if not self.writes:
            return
        with writing(self.path / name), open(self.path / name, "a") as rows:
            rows.write(json.dumps(row) + "\n")

    def cut_rows(self, name: str, step: int) -> list[dict]:
        """The rows of a file of JSON lines up to `step`; later ones are taken out of the file."""
        path = self.path / name
        rows = []
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # Cut off while it was written: it is written anew.
                break
            if row["step"] > step:
                break
            rows.append(row)
        self.write_text(name, "".join(json.dumps(row) + "\n" for row in rows))
        return rows


def read_json(path: Path) -> dict | None:
    """What a JSON file holds, or None where there is none.

    Raises:
      InputError: it holds no JSON object.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object: it was changed by hand, or is damaged.")
    return content


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Within, a file of a run is written; where that fails it is a RunError that names the file."""
    try:
        yield path
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror}); make room, then go on with --resume."
        ) from error


def choose_folder(asked: Path, default: Path, resume: bool) -> Path:
    """The folder for a run: `asked`, or the next free one of name, name-2, ... where it may be any.

    Args:
      asked: the folder that was asked for; the default counts as none in particular.
      default: the first of the folders to choose from.
      resume: the run goes on: take `asked` as it is, or the last folder of the row.

    Raises:
      InputError: `asked` by name holds a run, which is not to be resumed.
    """
    if asked == default:
        number = 1
        while jax.process_index() == 0 and _holds_run(_numbered(default, number + resume)):
            number += 1
        # Other processes may look when the first has made its folder: they take its number.
        return _numbered(default, int(*largest(number)))
    if _holds_run(asked) and not resume and jax.process_index() == 0:
        raise InputError(
            f"{asked} holds a run; go on with it by --resume, or give another --out-dir."
        )
    return asked


def move_aside(path: Path) -> Path | None:
    """Rename a folder that holds a run to the first free of name.1, name.2, ...; its new path."""
    return path.rename(free_name(path)) if _holds_run(path) else None


def free_name(path: Path) -> Path:
    """The first of name.1, name.2, ... that is not there."""
    number = 1
    while (free := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return free


def _numbered(path, number):
    return path if number == 1 else path.with_name(f"{path.name}-{number}")


def _holds_run(path):
    return any((path / name).exists() for name in ("config.json", "metrics.jsonl", "checkpoints"))
