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
    from rnn_jax import handwriting
    from rnn_jax.reading import image_reader

    read, _ = image_reader(config.run_dir)
    predictions = []
    for path in config.images:
        chances = read(handwriting.read_images(path))
        for number, chance in enumerate(chances):
            digit = int(chance.argmax())
            predictions.append((digit, float(chance[digit])))
            name = f"{path}[{number}]" if len(chances) > 1 else str(path)
            print(f"{name}  {digit}  {chance[digit]:.1%}")
    return predictions


if __name__ == "__main__":
    run(main, Config)
