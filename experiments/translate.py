"""Let a trained run translate dates, one a line."""

import dataclasses
import datetime
import io
import sys
from pathlib import Path

from tyro.conf import Positional

from rnn_jax.cli import run
from rnn_jax.errors import InputError
from rnn_jax.paths import local_path


@dataclasses.dataclass(frozen=True)
class Config:
    """Read dates from standard input and print each in ISO form, and how sure the network is."""

    run_dir: Positional[Path]
    """The folder of a run of date_translation.py, e.g. runs/date_translation."""


def main(config: Config) -> None:
    """Translate line after line; one that cannot be a date is answered by a sentence."""
    run_dir = local_path(config.run_dir)
    try:
        _translate(run_dir)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def _translate(run_dir):
    import jax
    import numpy as np
    from dates import ISO_LENGTH, decode_iso, encode

    from rnn_jax.models.encoder_decoder import build_encoder_decoder
    from rnn_jax.runs import load_run

    model, _ = load_run(run_dir, build_encoder_decoder)
    translate = jax.jit(lambda xs, lengths: model.translate(xs.T, lengths, ISO_LENGTH))
    if sys.stdin is None:
        raise InputError("standard input is closed; pipe dates into it, one a line.")
    if sys.stdin.isatty():
        print("Type a date, e.g. Mon 3 of March, 2025; Ctrl-D ends.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # A bad line does not end the others.
    for line in sys.stdin:
        line = line.strip().strip("\ufeff")
        try:
            _check_decoded(line)
            made = translate(*encode([line]))
        except InputError as error:
            print(error, flush=True)
            continue
        (text,), chance = decode_iso(np.asarray(made.symbols).T), float(made.chances.prod())
        note = "" if _is_date(text) else "  which is no day of the calendar"
        print(f"{text}  {chance:.1%}{note}", flush=True)


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
    run(main, Config)
