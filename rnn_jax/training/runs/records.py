"""Settings and summary of a run, verified against its checkpoints before it is continued."""

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_jax.errors import InputError
from rnn_jax.files import Damaged, read_json
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.checkpoint_files import read_contents
from rnn_jax.training.runs.run_dir import RunDir, free_name
from rnn_jax.training.runs.saved_runs import CHECKPOINTS, differences, lengthened

CONFIG, SUMMARY = "config.json", "summary.json"
SEAL = "sha256"
"""The entry of summary.json with the digest of all other entries."""


class RecordWarning(UserWarning):
    """A file of a run was damaged and has been restored."""


def sealed_facts(folder: Path) -> dict[str, Any] | None:
    """Facts of the newest readable checkpoint of a run, without its arrays.

    Raises:
      InputError: the folder of checkpoints cannot be read.
    """
    checkpoints = folder / CHECKPOINTS
    for step in reversed(Checkpoints(checkpoints).steps()):
        with contextlib.suppress(Damaged, KeyError, TypeError, OSError):
            facts = read_contents(checkpoints / f"step_{step}", step)["facts"]
            if isinstance(facts["settings"], dict):
                return facts
    return None


def saved_settings(out: RunDir, facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Settings of a run, from its checkpoint if there is one; otherwise from config.json.

    A config.json that is missing or differs from the checkpoint is restored, with a warning.

    Raises:
      InputError: there is no checkpoint, and config.json is damaged.
    """
    if facts is None:
        return read_json(out.path / CONFIG)
    settings = facts["settings"]
    try:
        saved = read_json(out.path / CONFIG)
    except InputError:
        saved = {}
    if saved is not None and not differences(saved, settings):
        return settings
    _restore(out, CONFIG, "its settings were restored from the checkpoint")
    out.write(CONFIG, settings)
    return settings


def check_same(out: RunDir, settings: Mapping, saved: Mapping) -> None:
    """Check that a run can be continued with these settings.

    Raises:
      InputError: the run has other settings, or belongs to another experiment.
    """
    mine, theirs = settings.get("experiment"), saved.get("experiment")
    if mine and theirs and mine != theirs:
        raise InputError(
            f"{out.path} has a run of {theirs}, not of {mine}; give another `out_dir`."
        )
    changed = differences(settings, saved)
    if settings.get("schedule", "constant") != "constant":  # It depends on the number of steps.
        longer = lengthened(settings, saved)
        changed += [f"{name} ({now} now, {then} then)" for name, (then, now) in longer.items()]
    if changed:
        raise InputError(
            f"the run in {out.path} was made with other settings: {', '.join(changed)}; "
            "resume it with the same settings, or give another `out_dir`."
        )


def extend(out: RunDir, settings: Mapping, saved: Mapping, done: int) -> dict[str, Any]:
    """Record in config.json that a run is extended beyond the length in its checkpoint.

    Returns:
      settings to add: all extensions of the run so far, if there are any.
    """
    changes, past = lengthened(settings, saved), saved.get("extensions", [])
    if changes:
        past = [*past, {"after_step": done, **changes}]
        said = ", ".join(f"{name} {then} -> {now}" for name, (then, now) in changes.items())
        print(f"extended {said}, after step {done}; recorded in config.json")
        out.write(CONFIG, {**settings, "extensions": past})
    return {"extensions": past} if past else {}


def write_summary(out: RunDir, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Write summary.json with a digest of its content; return the written content."""
    summary = {name: value for name, value in summary.items() if name != SEAL}
    summary[SEAL] = _digest(summary)
    out.write(SUMMARY, summary)
    return summary


def read_summary(out: RunDir, facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Read the summary of a finished run; None if there is none or it is damaged.

    A damaged summary is renamed with a warning; it is recomputed from the last checkpoint.

    Raises:
      InputError: it is damaged, and `facts`, those of the checkpoint, are None.
    """
    try:
        summary = read_json(out.path / SUMMARY)
    except InputError:
        if facts is None:
            raise
        summary = {}
    if summary is None:
        return None
    rest = {name: value for name, value in summary.items() if name != SEAL}
    older = SEAL not in summary and "rows" not in (facts or {})
    if rest and (older or summary.get(SEAL) == _digest(rest)):
        return summary
    if facts is None:
        raise InputError(f"{out.path / SUMMARY} is damaged, and there is no checkpoint.")
    _restore(out, SUMMARY, "it is computed again from the checkpoint")
    return None


def _digest(content):
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _restore(out, name, done):
    """Rename a damaged file, with a warning."""
    path = out.path / name
    if not out.writes:
        return
    state = "is missing"
    if os.path.lexists(path):
        state = f"is damaged and was renamed to {path.rename(free_name(path)).name}"
    warnings.warn(f"{path} {state}; {done}.", RecordWarning, stacklevel=3)
