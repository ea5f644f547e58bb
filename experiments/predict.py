"""Classify images of digits with a trained run of mnist_lstm.py."""

import dataclasses
import itertools
import sys
from pathlib import Path

from tyro.conf import Positional

from rnn_jax.errors import InputError
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.each_file import each_file


@dataclasses.dataclass(frozen=True)
class Config:
    """Print the name of each image, the predicted digit, and its probability.

    Each image shows one digit, of any size, in any ink that contrasts with its background. Warnings
    on standard error name images with a predicted probability below --confidence, and images unlike
    the training data. Unreadable files are reported on standard error and skipped, and the exit
    code is 2.
    """

    run_dir: Positional[Path]
    """Folder of a run of mnist_lstm.py, e.g. runs/mnist_lstm."""
    images: Positional[tuple[Path, ...]]
    """PNG, JPEG, GIF, BMP, TIFF, WebP or IDX files; IDX files can be gzipped."""
    confidence: float = 0.8
    """Warn about predictions with a lower probability, from 0 to 1."""
    trust_modules: bool = False
    """Import the module of a cell that the run names as module:Class; this runs its code."""


def main(config: Config) -> list[tuple[int, float]]:
    """Print a line for each image; return the predicted classes and their probabilities."""
    if not config.images:
        raise InputError("predict.py needs at least one image file after the run folder.")
    if not 0 <= config.confidence <= 1:
        raise InputError(f"--confidence must be from 0 to 1, got {config.confidence}.")
    from rnn_jax.datasets.digit_photos import read_images, unusual_ink
    from rnn_jax.files import printable
    from rnn_jax.training.runs.digit_reader import load_image_classifier

    classify, _ = load_image_classifier(config.run_dir, trust_modules=config.trust_modules)

    def predict(path):
        images, predictions = read_images(path), []
        for number, (image, probabilities) in enumerate(zip(images, classify(images), strict=True)):
            digit = int(probabilities.argmax())
            predictions.append((digit, float(probabilities[digit])))
            name = printable(f"{path}[{number}]" if len(images) > 1 else str(path))
            print(f"{name}  {digit}  {probabilities[digit]:.1%}")
            if warning := unusual_ink(image) or _doubt(probabilities[digit], config.confidence):
                print(f"predict.py: warning: {name}: {warning}.", file=sys.stderr)
        return predictions

    return [*itertools.chain(*each_file("predict.py", config.images, predict))]


def _doubt(probability, confidence):
    return f"predicted with less than {confidence:.0%}" if probability < confidence else None


if __name__ == "__main__":
    run(main, Config, only_prints=True)
