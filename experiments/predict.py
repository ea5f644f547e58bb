"""Let a trained run read pictures of digits."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional

from rnn_jax.cli import run
from rnn_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Config:
    """Print which digit a trained run sees in each picture, and how sure it is."""

    run_dir: Positional[Path]
    """The folder of a run of mnist_lstm.py, e.g. runs/mnist_lstm."""
    images: Positional[tuple[Path, ...]]
    """PNG, JPEG or IDX files; of any size, dark on light or light on dark."""


def main(config: Config) -> list[tuple[int, float]]:
    """Print a line for each picture; return its class and the probability 0-1 given to it."""
    if not config.images:
        raise InputError("predict.py needs at least one PNG, JPEG or IDX file after the run.")
    import jax
    import numpy as np

    from rnn_jax import data, handwriting, load_run

    model, settings = load_run(config.run_dir)
    read = jax.jit(lambda xs: jax.nn.softmax(model(xs)))
    predictions = []
    for path in config.images:
        xs = data.to_sequences(handwriting.read_images(path), settings["sequence"])
        chances = np.asarray(read(np.moveaxis(xs, 0, 1)))
        for number, chance in enumerate(chances):
            digit = int(chance.argmax())
            predictions.append((digit, float(chance[digit])))
            name = f"{path}[{number}]" if len(chances) > 1 else str(path)
            print(f"{name}  {digit}  {chance[digit]:.1%}")
    return predictions


if __name__ == "__main__":
    run(main, Config)
