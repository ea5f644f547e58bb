"""Rows of results: what a figure depends on, and files of JSON lines that go on where they stopped.

JAX is imported where it is needed only: a command may read its rows, or its flags, without.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rnn_jax.errors import InputError
from rnn_jax.sealed import replacing

VERSIONS = ("device", "processor", "cores", "jax", "jaxlib", "python")
"""The facts that rows of one file share."""


def facts() -> dict[str, str | int | None]:
    """What the figures of a run depend on: versions, device, processor, commit and command."""
    from rnn_jax.runs import environment

    return environment() | {
        "processor": _processor(),
        "cores": cores(),
        "git_commit": _git_commit(),
        "command": command(),
    }


def command() -> str:
    """What was typed to start this process."""
    return shlex.join(["python", *sys.argv])


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


def read_rows(path: Path) -> list[dict]:
    """The rows of a file of JSON lines; an unfinished last line, of a run cut off, is left out.

    Raises:
      InputError: no such file, or a line in it that is no row.
    """
    try:
        lines = path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as rows ({error}).") from error


def append_rows(path: Path, rows: Iterable[Mapping]) -> None:
    """Add rows to a file of JSON lines; they are on disk when this returns."""
    with open(path, "a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


def resume_rows(path: Path, settings: Mapping[str, Any], found: Mapping[str, Any]) -> list[dict]:
    """Make the folder of `path`, a file of rows, ready; the rows that are in it already.

    They are kept where they were made with the same settings on the same machine, as config.json
    beside them says; else the folder is moved aside. Both are told on standard output.

    Args:
      path: the file of rows.
      settings: what all its rows share.
      found: the facts of this process.

    Raises:
      InputError: the folder cannot be written.
    """
    from rnn_jax.rundir import RunDir, move_aside

    line = "device   {cores} cores of {processor}, {device}, jax {jax}, Python {python}, commit "
    print(line.format(**found) + str(found["git_commit"]))
    shared = {name: str(value) for name, value in settings.items()}
    shared |= {name: found[name] for name in VERSIONS}
    try:
        same = json.loads((path.parent / "config.json").read_text()) == shared
    except (OSError, ValueError):
        same = False
    if same and path.exists():
        # Written anew, for a run that was cut off may have left half a line at the end.
        rows = read_rows(path)
        with replacing(path) as whole:
            append_rows(whole, rows)
        print(f"goes on  with {len(rows)} rows that are in {path}")
        return rows
    if earlier := move_aside(path.parent):
        print(f"kept     the earlier run, of other settings, now in {earlier}")
    RunDir(path.parent).write("config.json", shared)
    return []
