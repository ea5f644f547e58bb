"""Trials of `reliability` on checkpoints: unusual folders, unreadable files, background saves."""

import shutil
import signal
import time
from random import Random

from reliability_runs import SECONDS, Lab, check

from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.checkpoint_files import CONTENTS
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

FOLDERS = ("lstm[lr=0.1]", "a*b?c", "{x,y} 50%25#", "ä漢\\", "deep/[0-9]/run")
"""Names that a library may mistake for a pattern, an escape or a URL."""


def odd_folder(lab: Lab, number: int, rng: Random) -> str:
    """Stop a run in a folder with an unusual name, and resume it."""
    name, reference = FOLDERS[number % len(FOLDERS)], lab.reference("lstm")
    out = lab.work / f"folder_{number}" / name
    last = out / CHECKPOINTS / f"step_{reference.step}"
    after = rng.uniform(0, reference.seconds)
    (process,), after = lab.cut(out, "lstm", signal.SIGTERM, after, last)
    lab.end(process, code=128 + signal.SIGTERM)
    check(bool(Checkpoints(out / CHECKPOINTS).steps()), "it left no checkpoint")
    lab.go_on(out, "lstm")
    return f"stopped in {name} {after:.2f} s after its first checkpoint began, and resumed"


def io_error(lab: Lab, number: int, rng: Random) -> str:
    """Make reading a file of the newest checkpoint raise an I/O error, and resume."""
    out, folder = _copied(lab, f"io_error_{number}")
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    path.unlink()
    path.symlink_to(
        "/proc/self/mem"
    )  # A regular file that can be opened, but reading it raises EIO.
    errors = lab.go_on(out, "lstm")
    check("is not used" in errors, f"{path.name} could not be read, and no warning was printed")
    return f"{path.relative_to(folder)} cannot be read: resumed from the older checkpoint"


def not_a_folder(lab: Lab, number: int, rng: Random) -> str:
    """Replace the newest checkpoint or its list of contents with something else, and resume."""
    out, folder = _copied(lab, f"not_a_folder_{number}")
    path, kind = [(folder, "file"), (folder, "dangling link"), (folder / CONTENTS, "folder")][
        number % 3
    ]
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kind == "file":
        path.write_bytes(rng.randbytes(100))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    errors = lab.go_on(out, "lstm")
    check("is not used" in errors, f"{path.name} was not a checkpoint, and no warning was printed")
    return f"{path.name} replaced by a {kind}: resumed from the older checkpoint"


def kill_saving(lab: Lab, number: int, rng: Random) -> str:
    """Kill a run while it writes a checkpoint in the background, and resume it."""
    out, skipped = lab.work / f"kill_saving_{number}", rng.randrange(5)
    lab.reference("lstm")
    (process,) = lab.launch(out, "lstm")
    deadline = time.perf_counter() + SECONDS
    killed, seen = None, set()
    while killed is None:
        check(process.poll() is None, "it ended before it could be killed in a save")
        check(time.perf_counter() < deadline, f"no save was seen for {SECONDS} s")
        unfinished = _unfinished(out) - seen
        if unfinished and len(seen) < skipped:
            seen |= unfinished
        elif unfinished:
            process.send_signal(signal.SIGKILL)
            process.wait(SECONDS)
            # The save may have finished before the signal arrived.
            killed = _unfinished(out) or unfinished
    steps = Checkpoints(out / CHECKPOINTS).steps()
    lab.go_on(out, "lstm")
    left = sorted(path.name for path in out.rglob("*tmp*"))
    check(not left, f"the killed save left {left}")
    return f"killed while it wrote {', '.join(sorted(killed))}, which left {steps}"


def _copied(lab, name):
    """Copy the run that was stopped halfway; return its folder and its newest checkpoint."""
    half, out = lab.half_done(), lab.work / name
    shutil.copytree(half.path, out)
    return out, out / CHECKPOINTS / f"step_{half.steps[-1]}"


def _unfinished(out):
    """Names of the checkpoints that are being written."""
    folders = (out / CHECKPOINTS).glob("step_*")
    return {path.name for path in folders if not (path / CONTENTS).exists()}
