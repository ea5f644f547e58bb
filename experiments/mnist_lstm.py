"""Classify MNIST digits by reading them row by row with an LSTM."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, ImageConfig, own_options_first
from rnn_jax.training.commands.ranges import Finite, Range

BUNDLED = Path(__file__).parent / "mnist_files"
VERDICT = "accuracy {test_accuracy:.4f}, loss {test_loss:.4f}, on the test images"


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, ImageConfig):
    """Classify images of digits as sequences of rows with an LSTM.

    The default run takes about 15 seconds on two CPU cores.
    """

    projection_size: Annotated[int, Range(at_least=0, at_most=10**6)] = 128
    """Width of the linear layer between the pixels and the cell; 0 omits the layer."""
    forget_bias: Finite = 1.0
    """Initial forget bias of an LSTM."""
    init: str = "default"
    """Initialization of the cell: default, orthogonal, identity, uniform, chrono=T, gain=G or
    forget=B, where T, G and B are numbers."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Data type of matrix products; parameters and carry are float32."""
    sequence: Literal["rows", "pixels", "permuted-pixels"] = "rows"
    """28 steps of 28 pixels, 784 steps of 1 pixel, or the same in a fixed random order."""
    readout: Literal["carry", "outputs"] = "carry"
    """Input of the output layer: h of the final carry, or the output of the last step."""
    dataset: str = "mnist"
    """TFDS data set of labeled 28x28 grayscale images, such as fashion_mnist or kmnist."""
    out_dir: Path = Path("runs/mnist_lstm")


def loss(model, batch, keys):
    """Mean cross-entropy [nats] of a batch, and its accuracy from 0 to 1."""
    del keys
    from rnn_jax.training.losses import evaluate, logits_of

    xs, labels = batch
    value, accuracy = evaluate(logits_of(model, xs), labels)
    return value, {"batch_accuracy": accuracy}


def main(config: Config) -> dict:
    """Train, evaluate on the test set, write the results, and return the summary."""
    config.check()
    import jax.numpy as jnp

    from rnn_jax import training
    from rnn_jax.datasets import image_data
    from rnn_jax.models.factory import build_classifier, check_cell
    from rnn_jax.training.losses import evaluate, logits_of

    with training.open_run(config) as run:
        # Data
        check_cell(config.cell, config.hidden_size, config.init, config.forget_bias)
        images = image_data.load_images(config.dataset, config.data_dir, bundled=BUNDLED)
        xs, test_xs = image_data.sequences(images, config.sequence)
        train = xs, images.train_labels
        order = training.BatchOrder(config.seed, len(xs), config.batch_size)

        # Model
        sizes = {"input_size": xs.shape[-1], "num_classes": images.num_classes}
        data = {"data": (train, test_xs), "source": images.source}
        create = run.describe(build_classifier, **data, **sizes)

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed)
        step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_step_limit)

        # Training
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        predict = trainer.compile_predict(graphdef, logits_of, state, test_xs)
        state = trainer.train(state, train)

        # Evaluation
        logits = predict(state)
        test_loss, accuracy = evaluate(jnp.asarray(logits), jnp.asarray(images.test_labels))
        results = {"test_accuracy": float(accuracy), "test_loss": float(test_loss)}
        summary = trainer.summarize(state, **results)

        # Figures
        if run.writes:
            model = training.model_of(graphdef, state)
            run.save_figures(figures(summary, trainer.rows, images, test_xs[0], model, logits))
        return trainer.finish(summary)


def figures(summary, rows, images, xs, model, logits):
    """The training curve, and test digits with their predictions and the gates of the first."""
    import jax

    from rnn_jax.analysis import recording
    from rnn_jax.plotting.training import predictions_figure, training_figure

    cell, gates = model.rnn.cell, {}
    if recording.has_activations(cell):
        gates = recording.open_and_shut(cell, jax.device_get(model.gates(jax.numpy.asarray(xs))))
    title = f"{summary['cell'].upper()} on {images.name}, seed {summary['seed']}"
    digits = images.test_images, images.test_labels, jax.nn.softmax(logits, -1)
    return {
        "training.png": training_figure(rows, title, summary["test_accuracy"]),
        "predictions.png": predictions_figure(*digits, gates, xs.reshape(28, 28), title),
    }


if __name__ == "__main__":
    run(main, Config)
