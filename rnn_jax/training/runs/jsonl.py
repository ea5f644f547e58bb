"""Rows of results: what a figure depends on, and files of JSON lines that go on where they stopped.

JAX is imported where it is needed only: a command may read its rows, or its flags, without.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_jax.errors import InputError
from rnn_jax.files import as_line

if TYPE_CHECKING:
    from rnn_jax.training.runs.run_dir import RunDir

VERSIONS = ("device", "processor", "cores", "jax", "jaxlib", "python")
"""The facts that rows of one file share."""


def facts() -> dict[str, str | int | None]:
    """What the figures of a run depend on: versions, device, processor, commit and command."""
    from rnn_jax.training.runs.saved_runs import environment

    return environment() | {
        "processor": _processor(),
        "cores": cores(),
        "git_commit": _git_commit(),
        "command": command(),
    }


def command() -> str:
    """What was typed to start this process."""
    return shlex.join(["python", *sys.argv])


def resume_command(folder: Path) -> str:
    """The command that continues this process's run in `folder`, to be typed as it is."""
    typed = list(sys.orig_argv)
    if typed[len(typed) - len(sys.argv) + 1 :] != sys.argv[1:]:
        typed = ["python", *sys.argv]
    rest = typed[: len(typed) - len(sys.argv) + 1]
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        flag, equals, _ = argument.replace("_", "-").partition("=")
        if flag == "--out-dir":
            if not equals:
                next(arguments, None)
        elif flag not in ("--resume", "--no-resume"):
            rest.append(argument)
    return shlex.join([*rest, "--out-dir", str(folder), "--resume"])


def cores() -> int:
    """The processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _git_commit() -> str | None:
    """The commit of this working tree, `-dirty` where files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(
            describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def read_rows(path: Path, keys: Collection[str] = ()) -> list[dict]:
    """The rows of a file of JSON lines, without an unfinished last line, of a run that was cut off.

    Args:
      path: the file.
      keys: what each row must hold.

    Raises:
      InputError: there is no such file, or a line of it is no row.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as rows ({reason}).") from error
    return parse_rows(path, content, keys)


def parse_rows(path: Path, content: bytes, keys: Collection[str] = ()) -> list[dict]:
    """The rows in the content of the file `path`, see `read_rows`."""
    rows = []
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            row, reason = None, f"it is no JSON ({error})"
        else:
            reason = f"it is no JSON object: {textwrap.shorten(str(row), 60)}"
        if isinstance(row, dict):
            missing = [key for key in keys if key not in row]
            if not missing:
                rows.append(row)
                continue
            reason = f"it has no {missing[0]}"
        raise InputError(
            f"{path} cannot be read as rows: line {number} is damaged, {reason}; "
            "put the file back from a copy, or take that line out of it."
        )
    return rows


def resume_rows(
    out: "RunDir", name: str, settings: Mapping[str, Any], found: Mapping[str, Any], keys=()
) -> list[dict]:
    """Prepare a folder for a file of rows; return the rows that it holds already.

    They are kept if they were made with the same settings on the same machine, according to the
    config.json beside them; otherwise the folder is moved aside. Standard output says which.

    Args:
      out: the folder, locked, see `rnn_jax.training.runs.run_dir.exclusive`.
      name: the file of rows.
      settings: the settings that all rows share.
      found: the facts of this process.
      keys: what each row must hold.

    Raises:
      InputError: the rows or the config.json are damaged.
      RunError: the folder cannot be written.
    """
    from rnn_jax.training.runs.run_dir import read_json

    line = "device   {cores} cores of {processor}, {device}, jax {jax}, Python {python}, commit "
    print(line.format(**found) + str(found["git_commit"]))
    shared = {name: str(value) for name, value in settings.items()}
    shared |= {name: found[name] for name in VERSIONS}
    path = out.path / name
    saved = read_json(out.path / "config.json")
    if saved is None and path.exists():
        raise InputError(
            f"{path} has no config.json beside it, which says how its rows were made; "
            "put it back, or give another --out-dir."
        )
    if saved == shared and path.exists():
        rows = read_rows(path, keys)
        # An unfinished line would spoil the next one.
        out.write_text(name, "".join(map(as_line, rows)))
        print(f"goes on  with {len(rows)} rows that are in {path}")
        return rows
    if saved != shared and (earlier := out.move_aside()):
        print(f"kept     the earlier run, of other settings, now in {earlier}")
    out.write("config.json", shared)
    return []
