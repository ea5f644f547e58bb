"""Provenance of results: versions, hardware, git commit and command line.

JAX is imported inside functions, so that a command can start without it.
"""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

MACHINE = ("device", "processor", "cores", "jax", "jaxlib", "python")
"""The entries of `provenance` that all rows of one file share."""


def provenance() -> dict[str, str | int | None]:
    """Versions, device, processor, git commit and command line of this process."""
    return versions() | {
        "processor": _processor(),
        "cores": cores(),
        "git_commit": _git_commit(),
        "command": command(),
    }


def versions() -> dict[str, str]:
    """Versions of JAX and Python, and the kind of device that JAX runs on."""
    import jax
    import jaxlib

    return {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
        "python": platform.python_version(),
    }


def machine(found: Mapping) -> str:
    """A line of text with the hardware, versions and commit of a `provenance`, or of a row."""
    return (
        "{cores} cores of {processor}, {device}, jax {jax}, Python {python}, commit {git_commit}"
    ).format(**found)


def command() -> str:
    """The command line of this process."""
    return shlex.join(["python", *sys.argv])


def cores() -> int:
    """Number of CPU cores that this process may use."""
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
    """The commit of this working tree, with `-dirty` if files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(
            describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
