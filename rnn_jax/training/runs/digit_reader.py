"""Classification of images by the trained network of a run."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, UInt8

from rnn_jax.datasets.image_data import to_sequences
from rnn_jax.errors import InputError
from rnn_jax.training.runs.saved_runs import load_run

BATCH = 100
"""Batch size. The last batch is padded, so that XLA compiles once."""


def load_image_classifier(
    path: str | Path, *, dataset: str | None = None, trust_modules: bool = False
) -> tuple[Callable[[UInt8[np.ndarray, "N 28 28"]], Float[np.ndarray, "N C"]], dict]:
    """Load a run of mnist_lstm.py as a classifier of images; also return its settings.

    The classifier takes images as uint8 [N, 28, 28] with values 0 (background) to 255 (ink), as in
    MNIST, and returns class probabilities [N, C]. `rnn_jax.datasets.digit_photos.read_images` reads
    such images from files. Unlike the model that `load_run` returns, the classifier scales the gray
    values, orders the pixels as in training and moves time to the first axis.

    Args:
      path: the folder of the run.
      dataset: the data set that the run must have been trained on, or None for any.
      trust_modules: see `load_run`.

    Raises:
      InputError: there is no such run (see `load_run`); it was trained on another data set; or,
        from the classifier, the images have the wrong dtype or shape.
    """
    model, settings = load_run(path, experiment="mnist_lstm", trust_modules=trust_modules)
    if dataset not in (None, settings.get("dataset")):
        raise InputError(
            f"{path} was trained on {settings.get('dataset')}; give a run trained on {dataset}."
        )
    probabilities = jax.jit(lambda xs: jax.nn.softmax(model(xs.swapaxes(0, 1))))

    def classify(images: UInt8[np.ndarray, "N 28 28"]) -> Float[np.ndarray, "N C"]:
        xs = to_sequences(np.asarray(images), settings["sequence"])
        found = [np.zeros((0, settings["num_classes"]), np.float32)]
        for first in range(0, len(xs), BATCH):
            batch = xs[first : first + BATCH]
            padding = [(0, BATCH - len(batch)), (0, 0), (0, 0)]
            found.append(np.asarray(probabilities(np.pad(batch, padding)))[: len(batch)])
        return np.concatenate(found)

    return classify, settings
