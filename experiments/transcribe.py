"""Transcribe the digits spoken in WAV files with a trained run of speech_digits.py."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional

from rnn_jax.errors import InputError
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.each_file import each_file


@dataclasses.dataclass(frozen=True)
class Config:
    """Print the name of each file and the digits that are spoken in it.

    The files can have any length, sampling rate and number of channels, with 8- to 32-bit PCM
    samples or float samples. /dev/stdin reads from a pipe. A run trained with --one-way reads files
    block by block, in constant memory. Unreadable files are reported on standard error and skipped,
    and the exit code is 2.
    """

    run_dir: Positional[Path]
    """Folder of a run of speech_digits.py, e.g. runs/speech_digits."""
    files: Positional[tuple[Path, ...]]
    """WAV files."""
    stream: bool = False
    """Print digits as they are recognized; requires a run trained with --one-way."""
    trust_modules: bool = False
    """Import the module of a cell that the run names as module:Class; this runs its code."""


def main(config: Config) -> list[str]:
    """Print a line for each file; return the digits of each."""
    if not config.files:
        raise InputError("transcribe.py needs at least one WAV file after the run folder.")
    from rnn_jax.datasets.wav import open_wav
    from rnn_jax.files import printable
    from rnn_jax.training.runs.transcriber import load_transcriber

    transcriber = load_transcriber(config.run_dir, trust_modules=config.trust_modules)
    if config.stream and (transcriber.single or not transcriber.one_way):
        trained = "with --single" if transcriber.single else "in both directions"
        raise InputError(
            f"--stream needs a run of speech_digits.py --one-way; {config.run_dir} was trained "
            f"{trained}."
        )

    def transcribe(path):
        with open_wav(path) as sound:
            digits = transcriber.digits(sound)
            return _print_line(printable(path), digits if config.stream else list(digits))

    return each_file("transcribe.py", config.files, transcribe)


def _print_line(name, digits):
    """Print a name and each digit as soon as it is known; return the digits as text."""
    text = ""
    try:
        for digit in digits:
            print(digit if text else f"{name}  {digit}", end="", flush=True)
            text += str(digit)
    finally:
        if text:
            print(flush=True)
    if not text:
        print(f"{name}  no digits", flush=True)
    return text


if __name__ == "__main__":
    run(main, Config, only_prints=True)
