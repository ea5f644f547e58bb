"""Trials of `reliability` on folders and records: shared, misnamed, lost or damaged."""

import shutil
from pathlib import Path
from random import Random

from reliability_runs import Lab, Lost, brief, check

from rnn_jax.training.runs.metrics import METRICS
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

CONFIG = "config.json"


def together(lab: Lab, number: int, rng: Random) -> str:
    """Start two runs at once in one folder: one trains, the other ends with an error."""
    del rng
    out = lab.work / f"together_{number}"
    return _one_of_two(lab, out, [lab.launch(out, "lstm")[0] for _ in range(2)], "started")


def resumed_twice(lab: Lab, number: int, rng: Random) -> str:
    """Resume one run twice at once: one continues, the other ends with an error."""
    del rng
    out = _copied(lab, f"resumed_twice_{number}")
    started = [lab.launch(out, "lstm", "--resume")[0] for _ in range(2)]
    return _one_of_two(lab, out, started, "resumed")


def misnamed(lab: Lab, number: int, rng: Random) -> str:
    """Resume a folder that does not exist, and start a run in one that already has a run."""
    del rng
    out = _copied(lab, f"misnamed_{number}")
    typo = out.with_name(out.name + "_typo")
    said = _refused(lab, typo, "no run to resume", "--resume")
    check(not typo.exists(), f"{typo} was created")
    _unchanged(lab, out, "has a run already")
    lab.go_on(out, "lstm")
    return said


def lost_checkpoints(lab: Lab, number: int, rng: Random) -> str:
    """Move the checkpoints of a run away, resume, move them back, and resume again."""
    del rng
    out = _copied(lab, f"lost_checkpoints_{number}")
    away = out.with_name(out.name + "_away")
    (out / CHECKPOINTS).rename(away)
    if number % 2:
        (out / CHECKPOINTS).mkdir()  # Like the mount point of an unmounted disk.
    said = _unchanged(lab, out, "has no checkpoint", "--resume")
    if number % 2:
        (out / CHECKPOINTS).rmdir()
    away.rename(out / CHECKPOINTS)
    lab.go_on(out, "lstm")
    return said


def damaged_rows(lab: Lab, number: int, rng: Random) -> str:
    """Damage the rows of a run, resume, restore the rows, and resume again."""
    out = _copied(lab, f"damaged_rows_{number}")
    path = out / METRICS
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    line = rng.randrange(len(lines) - 1)
    digits = [place for place, byte in enumerate(content) if 48 <= byte < 57]
    place = rng.choice(digits)
    changed = content[:place] + bytes([content[place] + 1]) + content[place + 1 :]
    kinds = {
        "deleted": None,
        "emptied": b"",
        f"line {line + 1} cut off": b"".join(
            part[: len(part) // 2] + b"\n" if k == line else part for k, part in enumerate(lines)
        ),
        f"digit {place} changed": changed,
        f"line {line + 1} deleted": b"".join(lines[:line] + lines[line + 1 :]),
    }
    kind = list(kinds)[number % len(kinds)]
    path.unlink()
    if kinds[kind] is not None:
        path.write_bytes(kinds[kind])
    said = _unchanged(lab, out, "metrics.jsonl", "--resume")
    path.write_bytes(content)
    lab.go_on(out, "lstm")
    return f"{kind}: {said}"


def damaged_config(lab: Lab, number: int, rng: Random) -> str:
    """Delete or damage config.json; the run continues with the settings of its checkpoint."""
    out = _copied(lab, f"damaged_config_{number}")
    path = out / CONFIG
    content = path.read_bytes()
    path.unlink()
    if number % 2:
        path.write_bytes(content[: rng.randrange(len(content) - 2)])
    errors = lab.go_on(out, "lstm")
    check("restored from the checkpoint" in errors, "no warning was printed")
    return "cut off and restored" if number % 2 else "deleted and restored"


def _copied(lab, name):
    return shutil.copytree(lab.half_done().path, lab.work / name)


def _one_of_two(lab, out, started, how):
    """One of two processes must be refused, and the other must end like the reference."""
    errors = [lab.end(process) for process in started]
    codes = [process.returncode for process in started]
    check(sorted(codes) == [0, 2], f"two {how} at once ended with exit codes {codes}")
    said = errors[codes.index(2)].strip()
    check("in use" in said or "has a run already" in said, f"it says {brief(said)}")
    lab.compare(out, "lstm")
    return f"two {how} at once: {brief(said)}"


def _refused(lab, out: Path, words: str, *options: str) -> str:
    """The error of a command that is refused."""
    errors = lab.end(*lab.launch(out, "lstm", *options), code=2)
    lines = [line for line in errors.splitlines() if line.strip()]
    check(len(lines) == 1 and words in lines[0], f"it says {brief(errors)}")
    return lines[0]


def _unchanged(lab, out, words, *options):
    """The error of a command that is refused and must not change its folder."""
    before = _content(out)
    said = _refused(lab, out, words, *options)
    if _content(out) != before:
        raise Lost(f"it was refused ({said}), and files were changed")
    return said


def _content(folder):
    return {path: path.is_file() and path.read_bytes() for path in sorted(folder.rglob("*"))}
