"""Write the digit that is asked for, row by row: one to many, each row drawn given those before."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Literal

from rnn_jax.errors import InputError
from rnn_jax.files import local_path
from rnn_jax.training.commands.cli import (
    check_at_least,
    check_at_most,
    check_finite,
    check_positive,
    run,
)
from rnn_jax.training.commands.config import TrainConfig

BUNDLED = Path(__file__).parent / "mnist_files"
DIGITS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Learn to write a digit from its label, one row of black and white pixels at a time.

    The recurrent state tells of the label and the rows above; given that, a small network draws the
    pixels of the row from left to right, so that a stroke is in one place and not half in two. A
    run of mnist_lstm.py, which has seen only real digits, says how many of the drawn it can read.
    """

    cell: str = "lstm"
    """The recurrent cell."""
    hidden_size: int = 256
    """Hidden units of the cell."""
    row_size: int = 64
    """Hidden units of the network that draws a row."""
    examples: int = 250_000
    """Training examples to see in all; 60,000 are one epoch of MNIST."""
    learning_rate: float = 3e-3
    """Adam's learning rate."""
    decay: Literal["none", "cosine"] = "cosine"
    """How the learning rate goes down: not at all, or to 0 at the last step along half a cosine."""
    ink: Literal["threshold", "sampled"] = "threshold"
    """A pixel is ink if its grey value is above 127 of 255, or with that value as probability."""
    unlabelled: float = 0.1
    """The share of training examples whose label is not told; guidance needs some."""
    temperature: float = 1.0
    """How freely to draw: 1 as was learnt, less for likelier digits, 0 for the likeliest pixels."""
    guidance: float = 1.5
    """How clearly a digit is to be the one asked for: 1 as was learnt, more for clearer ones."""
    classifier: Path = Path("runs/mnist_lstm")
    """A finished run of mnist_lstm.py, to read what is drawn."""
    trust_modules: bool = False
    """Import the module of a cell that --classifier names as module:Class; this runs its code."""
    data_dir: Path | None = None
    """Where TFDS keeps its data; by default TFDS's own folder."""
    out_dir: Path = Path("runs/mnist_generate")
    """Folder for results; where the default holds a run, the next free one: -2, -3, ..."""

    @property
    def steps(self) -> int:
        """Training steps: enough whole batches for all examples."""
        return math.ceil(self.examples / self.batch_size)

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        super().check()
        check_at_least(self, hidden_size=1, row_size=1, examples=1, unlabelled=0)
        check_at_most(self, hidden_size=10**6, row_size=10**6)
        check_at_least(self, temperature=0)
        check_finite(self, "temperature")
        check_positive(self, "guidance")
        local_path(self.classifier)
        if self.data_dir:
            local_path(self.data_dir)
        if self.unlabelled >= 1 or (self.unlabelled == 0 and self.guidance != 1):
            raise InputError(
                f"--unlabelled must be below 1, and above 0 for guidance, got {self.unlabelled}."
            )


def main(config: Config) -> dict:
    """Train, judge the test images and what is drawn, write the results, return the summary."""
    config.check()
    from rnn_jax.training.experiment import perform

    return perform(config, prepare)


def prepare(config: Config):
    """The experiment that the flags describe."""
    import numpy as np

    from rnn_jax.datasets import image_data
    from rnn_jax.models.row_generator import (
        binarize,
        build_row_generator,
        row_generator_loss,
    )
    from rnn_jax.training import batches
    from rnn_jax.training.experiment import Experiment
    from rnn_jax.training.runs.digit_reader import load_image_classifier

    chances, learnt = load_image_classifier(config.classifier, trust_modules=config.trust_modules)
    if learnt.get("dataset") != "mnist":
        raise InputError(
            f"--classifier was trained on {learnt.get('dataset')}; give one trained on mnist."
        )
    images = image_data.load_images("mnist", config.data_dir, bundled=BUNDLED)
    pixels, labels = binarize(images.test_images, config.ink), images.test_labels
    one_hot = np.eye(DIGITS, dtype=np.float32)

    def read(pixels):
        return chances(255 * pixels).argmax(-1)

    return Experiment(
        build=build_row_generator,
        facts={"asked_size": DIGITS, "width": 28},
        source=images.source,
        loss=functools.partial(row_generator_loss, unconditional=config.unlabelled),
        data=(binarize(images.train_images, config.ink), one_hot[images.train_labels]),
        order=batches.BatchOrder(config.seed, len(images.train_labels), config.batch_size),
        predict=functools.partial(judge_and_draw, config=config),
        test_data=(pixels, one_hot[labels], np.arange(len(labels))),
        evaluate=functools.partial(_evaluate, config, read, pixels, labels),
        verdict="{test_nll:.2f} nats an image; read as asked {read_as_asked:.2%} of the drawn "
        "digits, {real_read:.2%} of the real ones",
        draw=functools.partial(_draw, read, pixels, labels),
    )


def judge_and_draw(model, batch, config):
    """The nats of images [B], and for each of their labels a digit [B, 28, 28] of its own."""
    import jax

    pixels, asked, numbers = batch
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(config.seed), numbers)
    drawn = model.sample(keys, asked, 28, config.temperature, config.guidance)
    return model.nll(pixels, asked), drawn


def _evaluate(config, read, pixels, labels, outputs):
    nats, drawn = outputs
    return {
        "test_nll": float(nats.mean()),
        "read_as_asked": float((read(drawn) == labels).mean()),
        "real_read": float((read(pixels) == labels).mean()),
        "temperature": config.temperature,
        "guidance": config.guidance,
    }


def _draw(read, pixels, labels, result):
    from rnn_jax.plotting.digit_grid import digits_figure
    from rnn_jax.plotting.training import training_figure

    summary, (_, drawn) = result.summary, result.outputs
    title = f"{summary['cell'].upper()} writing MNIST digits, seed {summary['seed']}"
    note = f"{summary['read_as_asked']:.1%} of {len(labels):,} read as asked, the framed as another"
    return {
        "training.png": training_figure(result.rows, title, loss_name="loss [nats an image]"),
        "samples.png": digits_figure(drawn, pixels, labels, read(drawn), title, note),
    }


if __name__ == "__main__":
    run(main, Config)
