"""Images read by a classifier that was trained before."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from rnn_jax.data import to_sequences
from rnn_jax.errors import InputError
from rnn_jax.runs import load_run


def image_reader(run_dir: Path) -> tuple[Callable[[np.ndarray], np.ndarray], Mapping]:
    """What the classifier of a run of mnist_lstm.py makes of images, and the run's settings.

    The first is a function from grey values uint8 [N, 28, 28] to the chances [N, C] of each class.

    Raises:
      InputError: no run there; see `load_run`.
    """
    if not (run_dir / "config.json").exists():
        raise InputError(
            f"{run_dir} holds no run to read images with; make one with: "
            f"python experiments/mnist_lstm.py --out-dir {run_dir}"
        )
    model, settings = load_run(run_dir)

    def chances(xs):
        return jax.nn.softmax(model(xs))

    read = jax.jit(lambda xs: jax.lax.map(chances, xs, batch_size=500))
    return lambda images: np.asarray(read(to_sequences(images, settings["sequence"]))), settings
