"""Trials of `reliability`: each disrupts a run and compares its result with the reference."""

import contextlib
import functools
import io
import resource
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import perf_counter

import jax
from reliability_folders import (
    damaged_config,
    damaged_rows,
    lost_checkpoints,
    misnamed,
    resumed_twice,
    together,
)
from reliability_processes import broken_output, disagree, interrupt_compiling
from reliability_runs import Lab, Lost, brief, check, checkpoint_leaves
from reliability_storage import io_error, kill_saving, not_a_folder, odd_folder

from rnn_jax.errors import InputError
from rnn_jax.training.runs.checkpoint import Checkpoints, DamageWarning
from rnn_jax.training.runs.checkpoint_files import described
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

CELLS = ("lstm", "gru", "rnn")
RESUMED = 10
"""One in this many damaged runs is also resumed to its end and compared."""
BYTES_LEFT = (1_000, 10_000)
"""Range of the maximum file size on a full disk; each checkpoint has a larger file."""
PEER_SECONDS = 10
"""Maximum time for a process to end after another process of its run has died."""


def kill(lab: Lab, number: int, rng: Random) -> str:
    """Kill a run at a random time in training, and resume it."""
    out, cell = lab.work / f"kill_{number}", CELLS[number % len(CELLS)]
    after = rng.uniform(0, lab.reference(cell).seconds)
    _, after = lab.cut(out, cell, signal.SIGKILL, after, out / "summary.json")
    steps = Checkpoints(out / CHECKPOINTS).steps()
    lab.go_on(out, cell)
    return f"{cell} killed {after:.2f} s after its first checkpoint began, which left {steps}"


def stop(number_sent: signal.Signals, lab: Lab, number: int, rng: Random) -> str:
    """Stop a run at a random time in training, check its message, and resume it."""
    cell = CELLS[number % len(CELLS)]
    out, reference = lab.work / f"{number_sent.name}_{number}", lab.reference(cell)
    after = rng.uniform(0, reference.seconds)
    last = out / CHECKPOINTS / f"step_{reference.step}"
    (process,), after = lab.cut(out, cell, number_sent, after, last)
    errors = lab.end(process, code=128 + number_sent)
    said = [line for line in errors.splitlines() if "--resume" in line]
    check(len(said) == 1, f"it does not say in one line how to go on: {brief(errors)}")
    lab.go_on(out, cell)
    return f"{cell} stopped {after:.2f} s after its first checkpoint began"


def flip(lab: Lab, number: int, rng: Random) -> str:
    """Flip one bit of a random file: in the newest checkpoint, in the older one, or in both."""

    def flip_bit(path):
        content, bit = bytearray(path.read_bytes()), rng.randrange(8 * path.stat().st_size)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        return f"bit {bit} flipped"

    older, newest = lab.half_done().steps
    steps = rng.choice([[newest], [older], [older, newest]])
    return _damage(lab, lab.work / f"flip_{number}", steps, flip_bit, rng, number % RESUMED == 0)


def truncate(lab: Lab, number: int, rng: Random) -> str:
    """Truncate a random file of the newest checkpoint, to 0 or a random size, or delete it."""

    def cut_off(path):
        if number % 4 == 3:
            path.unlink()
            return "deleted"
        length = rng.randrange(path.stat().st_size) if number % 4 else 0
        with open(path, "r+b") as file:
            file.truncate(length)
        return f"cut off at {length}"

    steps = [lab.half_done().steps[-1]]
    return _damage(lab, lab.work / f"truncate_{number}", steps, cut_off, rng, number % RESUMED == 0)


def _damage(lab, out, steps, spoil: Callable[[Path], str], rng, resumed):
    """Damage a file in the checkpoints `steps`; the restored arrays must be the saved ones."""
    half = lab.half_done()
    shutil.copytree(half.path, out)
    done = []
    for step in steps:
        folder = out / CHECKPOINTS / f"step_{step}"
        path = rng.choice([path for path in sorted(folder.rglob("*")) if path.is_file()])
        done.append(f"{path.relative_to(out / CHECKPOINTS)} {spoil(path)}")
    done = ", ".join(done)
    try:
        found = f"step {_restore(out, half.path)} restored"
    except InputError as error:
        check(len(steps) == len(half.steps), f"{done}: a valid checkpoint is left, but {error}")
        found = f"refused ({error})"
    except Lost as lost:
        raise Lost(f"{done}: {lost}") from lost
    except Exception as error:
        raise Lost(f"{done}: {error!r}") from error
    if resumed and found.startswith("refused"):
        lab.end(*lab.launch(out, "lstm", "--resume"), code=2)
    elif resumed:
        lab.go_on(out, "lstm")
    return f"{done}: {found}" + (", and gone on with" if resumed else "")


def _restore(out, pristine):
    """Restore a step in `out`; every array must equal the one in `pristine`."""
    saved = {s: checkpoint_leaves(pristine, s) for s in Checkpoints(pristine / CHECKPOINTS).steps()}
    newest = max(saved)
    like = {
        name: jax.ShapeDtypeStruct(leaf["shape"], leaf["dtype"])
        for name, leaf in saved[newest].items()
    }
    quiet = contextlib.redirect_stderr(io.StringIO())
    with quiet, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        restored = Checkpoints(out / CHECKPOINTS).restore(like)
    check(restored is not None, "no checkpoint is found")
    check(restored.step in saved, f"step {restored.step} was never saved")
    wrong = [
        name
        for name, array in restored.tree.items()
        if described(array) != saved[restored.step][name]
    ]
    check(not wrong, f"step {restored.step} is restored with another {', '.join(wrong)}")
    warned_of = any(issubclass(warning.category, DamageWarning) for warning in warned)
    check(warned_of or restored.step == newest, f"step {restored.step} is used without a warning")
    return restored.step


def disk_full(lab: Lab, number: int, rng: Random) -> str:
    """Resume a run where no checkpoint can be written; then free space and resume it again."""
    half, out, limit = lab.half_done(), lab.work / f"disk_full_{number}", rng.randrange(*BYTES_LEFT)
    shutil.copytree(half.path, out)
    (process,) = lab.launch(out, "lstm", "--resume")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    errors = lab.end(process, code=1)
    lines = [line for line in errors.splitlines() if line.strip()]
    check(len(lines) == 1, f"it prints {len(lines)} lines instead of one: {brief(errors)}")
    step = _restore(out, half.path)
    check(step == half.steps[-1], f"step {step} is the newest left of {half.steps}")
    lab.go_on(out, "lstm")
    return f"no room for files above {limit} bytes: {lines[0]}"


def dead_peer(lab: Lab, number: int, rng: Random) -> str:
    """Kill one process of two; the other must end soon, and both can be resumed."""
    out, gone = lab.work / f"dead_peer_{number}", (number + 1) % 2
    after = rng.uniform(0, lab.reference("lstm", processes=2).seconds)
    late = out / "summary.json"
    processes, after = lab.cut(out, "lstm", signal.SIGKILL, after, late, processes=2, target=gone)
    killed_at, left = perf_counter(), processes[1 - gone]
    lab.end(left, seconds=PEER_SECONDS)
    seconds = perf_counter() - killed_at
    check(left.returncode != 0, f"process {1 - gone} ended with exit code 0")
    lab.go_on(out, "lstm", processes=2)
    return (
        f"process {gone} killed {after:.2f} s after the first checkpoint began; "
        f"the other one ended {seconds:.1f} s later with exit code {left.returncode}"
    )


TRIALS = {
    "kill": kill,
    "flip": flip,
    "truncate": truncate,
    "disk-full": disk_full,
    "sigterm": functools.partial(stop, signal.SIGTERM),
    "sigint": functools.partial(stop, signal.SIGINT),
    "sighup": functools.partial(stop, signal.SIGHUP),
    "dead-peer": dead_peer,
    "odd-folder": odd_folder,
    "io-error": io_error,
    "not-a-folder": not_a_folder,
    "kill-saving": kill_saving,
    "together": together,
    "resumed-twice": resumed_twice,
    "misnamed": misnamed,
    "lost-checkpoints": lost_checkpoints,
    "damaged-rows": damaged_rows,
    "damaged-config": damaged_config,
    "broken-output": broken_output,
    "disagree": disagree,
    "interrupt-compiling": interrupt_compiling,
}
"""Each runs one trial and returns a description of it, or raises Lost."""
