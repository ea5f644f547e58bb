"""Let a trained run read pictures of digits."""

import dataclasses
import sys
from pathlib import Path

from tyro.conf import Positional

from rnn_jax.errors import InputError
from rnn_jax.training.commands.cli import run


@dataclasses.dataclass(frozen=True)
class Config:
    """Print for each picture its name, the digit that a trained run reads, and the probability.

    Each picture shows one digit, of any size, in any ink that stands out from its ground. A warning
    on standard error names pictures that are read with a probability below --confidence, or that
    are unlike the training images. A file that cannot be read has its line on standard error; the
    others are read, and the exit code is 2.
    """

    run_dir: Positional[Path]
    """Folder of a run of mnist_lstm.py, e.g. runs/mnist_lstm."""
    images: Positional[tuple[Path, ...]]
    """PNG, JPEG, GIF, BMP, TIFF or WebP files, or IDX files of many images, plain or gzipped."""
    confidence: float = 0.8
    """Warn of digits that are read with a lower probability, from 0 to 1."""
    trust_modules: bool = False
    """Import the module of a cell that the run names as module:Class; this runs its code."""


def main(config: Config) -> list[tuple[int, float]]:
    """Print a line for each picture; return its class and the probability 0-1 given to it."""
    if not config.images:
        raise InputError("predict.py needs at least one picture or IDX file after the run.")
    if not 0 <= config.confidence <= 1:
        raise InputError(f"--confidence must be from 0 to 1, got {config.confidence}.")
    from rnn_jax.datasets.digit_photos import read_images, unusual_ink
    from rnn_jax.files import printable
    from rnn_jax.training.runs.digit_reader import load_image_classifier

    classify, _ = load_image_classifier(config.run_dir, trust_modules=config.trust_modules)
    predictions, failures = [], []
    for path in config.images:
        try:
            images = read_images(path)
        except InputError as error:
            failures.append(error)
            if len(config.images) > 1:
                print(f"predict.py: {printable(str(error))}", file=sys.stderr, flush=True)
            continue
        for number, (image, chances) in enumerate(zip(images, classify(images), strict=True)):
            digit = int(chances.argmax())
            predictions.append((digit, float(chances[digit])))
            name = printable(f"{path}[{number}]" if len(images) > 1 else str(path))
            print(f"{name}  {digit}  {chances[digit]:.1%}")
            if doubt := unusual_ink(image) or _doubt(chances[digit], config.confidence):
                print(f"predict.py: warning: {name}: {doubt}.", file=sys.stderr)
    if failures:
        if len(config.images) == 1:
            raise failures[0]
        raise InputError(f"{len(failures)} of {len(config.images)} files could not be read.")
    return predictions


def _doubt(chance, confidence):
    return f"read with a probability below {confidence:.0%}" if chance < confidence else None


if __name__ == "__main__":
    run(main, Config, only_prints=True)
