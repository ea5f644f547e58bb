"""Translate dates, one per line, with a trained run of date_translation.py."""

import dataclasses
import datetime
import io
import sys
from pathlib import Path

from tyro.conf import Positional

from rnn_jax.errors import InputError
from rnn_jax.training.commands.cli import run


@dataclasses.dataclass(frozen=True)
class Config:
    """Read dates from standard input; print each in ISO 8601 format, with its probability."""

    run_dir: Positional[Path]
    """Folder of a run of date_translation.py, e.g. runs/date_translation."""
    trust_modules: bool = False
    """Import the module of a cell that the run names as module:Class; this runs its code."""


def main(config: Config) -> None:
    """Translate line by line; print an error for a line that is not a date."""
    import jax
    import numpy as np

    from rnn_jax.datasets.dates import ISO_LENGTH, decode_iso, encode, from_pinyin
    from rnn_jax.training.runs.saved_runs import load_run

    model, _ = load_run(
        config.run_dir,
        experiment="date_translation",
        trust_modules=config.trust_modules,
    )
    translate = jax.jit(lambda xs, lengths: model.translate(xs.T, lengths, ISO_LENGTH))
    if sys.stdin is None:
        raise InputError("standard input is closed; pipe dates into it, one per line.")
    if sys.stdin.isatty():
        print("Type a date, e.g. Mon 3 of March, 2025; Ctrl-D ends.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # A bad line does not end the program.
    for line in sys.stdin:
        line = line.strip().strip("\ufeff")
        try:
            _check_decoded(line)
            made = translate(*encode([from_pinyin(line)]))
        except InputError as error:
            print(error, flush=True)
            continue
        (text,) = decode_iso(np.asarray(made.symbols).T)
        probability = float(made.probabilities.prod())
        note = "" if _is_date(text) else "  (not a calendar date)"
        print(f"{text}  {probability:.1%}{note}", flush=True)


def _check_decoded(line):
    try:
        line.encode()
    except UnicodeEncodeError as error:
        byte = ord(line[error.start]) & 0xFF
        raise InputError(
            f"this line is not valid {sys.stdin.encoding}: byte {byte:#04x} after {error.start} "
            "characters."
        ) from error


def _is_date(text):
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    run(main, Config, only_prints=True)
