"""Classify MNIST digits by reading them row by row with an LSTM."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Literal

from rnn_jax.errors import InputError
from rnn_jax.files import local_path
from rnn_jax.training.commands.cli import check_at_least, check_at_most, check_finite, run
from rnn_jax.training.commands.config import TrainConfig

BUNDLED = Path(__file__).parent / "mnist_files"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Classify images of digits by reading each as a sequence, row by row, with an LSTM."""

    cell: str = "lstm"
    """The recurrent cell: lstm, gru, rnn, irnn, peephole, projected, coupled, slstm,
    gru-reset-before, minimal, ugrnn, antisymmetric, cornn, lru, mingru, minlstm, rglru; or one of
    your own, my_module:MyCell, looked for in the current folder too."""
    hidden_size: int = 128
    """Hidden units of the cell."""
    projection_size: int = 128
    """Width of the linear layer between the pixels and the cell; 0 leaves it out."""
    forget_bias: float = 1.0
    """Where the forget bias of an LSTM starts."""
    init: str = "default"
    """How the cell's parameters start: default, orthogonal, identity, uniform, chrono=T, gain=G or
    forget=B, with numbers for T, G, B."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What matrix products are computed in; parameters and carry stay float32."""
    examples: int = 100_000
    """Training examples to see in all; 60,000 are one epoch of MNIST."""
    sequence: Literal["rows", "pixels", "permuted-pixels"] = "rows"
    """28 steps of 28 pixels, 784 steps of 1 pixel, or those in one fixed random order."""
    readout: Literal["carry", "outputs"] = "carry"
    """What the output layer sees: the final carry's h, or the output of the last step."""
    dataset: str = "mnist"
    """A TFDS set of 28x28 single-channel images with labels, e.g. fashion_mnist or kmnist."""
    data_dir: Path | None = None
    """Where TFDS keeps its data; by default TFDS's own folder."""
    out_dir: Path = Path("runs/mnist_lstm")
    """Folder for results; where the default holds a run, the next free one: -2, -3, ..."""

    @property
    def steps(self) -> int:
        """Training steps: enough whole batches for all examples."""
        return math.ceil(self.examples / self.batch_size)

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        super().check()
        check_at_least(self, hidden_size=1, examples=1, projection_size=0)
        check_at_most(self, hidden_size=10**6, projection_size=10**6)
        check_finite(self, "forget_bias")
        if self.data_dir:
            local_path(self.data_dir)


def main(config: Config) -> dict:
    """Train, evaluate on the test set, write the results, and return the summary."""
    config.check()
    from rnn_jax.training.experiment import perform

    return perform(config, prepare)


def prepare(config: Config):
    """The experiment that the flags describe."""
    from rnn_jax import initializers
    from rnn_jax.cells import registry
    from rnn_jax.datasets import image_data
    from rnn_jax.models.factory import build_classifier
    from rnn_jax.training import batches, losses
    from rnn_jax.training.experiment import Experiment

    cell = registry.find_cell(config.cell, config.hidden_size)
    initializers.parse_init(config.init)
    if config.forget_bias != Config.forget_bias and not registry.takes(cell, "forget_bias"):
        raise InputError(f"--forget-bias is for an LSTM; --cell {config.cell} has none.")
    images = image_data.load_images(config.dataset, config.data_dir, bundled=BUNDLED)
    xs = image_data.to_sequences(images.train_images, config.sequence)
    test_xs = image_data.to_sequences(images.test_images, config.sequence)
    image_data.check_sequences(xs, images.train_labels, images.num_classes)
    image_data.check_sequences(test_xs, images.test_labels, images.num_classes)
    return Experiment(
        build=build_classifier,
        facts={"input_size": xs.shape[-1], "num_classes": images.num_classes},
        source=images.source,
        loss=losses.classification_loss,
        data=(xs, images.train_labels),
        order=batches.BatchOrder(config.seed, len(xs), config.batch_size),
        predict=losses.read,
        test_data=test_xs,
        evaluate=functools.partial(_evaluate, images.test_labels),
        verdict="accuracy {test_accuracy:.4f}, loss {test_loss:.4f}, on the test images",
        draw=functools.partial(_draw, images, test_xs[0]),
    )


def _evaluate(labels, logits):
    from jax.numpy import asarray

    from rnn_jax.training.losses import evaluate

    loss, accuracy = evaluate(asarray(logits), asarray(labels))
    return {"test_accuracy": float(accuracy), "test_loss": float(loss)}


def _draw(images, xs, result):
    import jax

    from rnn_jax.analysis import recording
    from rnn_jax.plotting import training

    summary, cell, gates = result.summary, result.model.rnn.cell, {}
    if recording.has_activations(cell):
        gates = jax.device_get(result.model.gates(jax.numpy.asarray(xs)))
    title = f"{summary['cell'].upper()} on {images.name}, seed {summary['seed']}"
    return {
        "training.png": training.training_figure(result.rows, title, summary["test_accuracy"]),
        "predictions.png": training.predictions_figure(
            images.test_images,
            images.test_labels,
            jax.nn.softmax(result.outputs, -1),
            recording.open_and_shut(cell, gates) if gates else {},
            xs.reshape(28, 28),
            title,
        ),
    }


if __name__ == "__main__":
    run(main, Config)
