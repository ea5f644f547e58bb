"""Classify sequences: MNIST-1D, and the data sets of the UCR and UEA archives."""

import dataclasses
from pathlib import Path
from typing import Literal

from rnn_jax.errors import InputError
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, Schedule, TrainConfig, own_options_first
from rnn_jax.training.commands.ranges import Count, NonNegative, Positive, Size

VERDICT = "accuracy {test_accuracy:.4f}, loss {test_loss:.4f}, on the test set"


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, TrainConfig):
    """Classify the sequences of a published data set, which may have different lengths.

    The default run trains a GRU on MNIST-1D and takes less than a minute on two CPU cores.
    """

    dataset: str = "mnist1d"
    """mnist1d, which needs the extra `mnist1d`, or the name of a data set of the UCR or UEA
    archive, such as JapaneseVowels or GunPoint, which needs the extra `ucr`."""
    data_dir: Path | None = None
    """Folder with .ts files of the archive; by default, those bundled with aeon, then its cache."""
    cell: str = "gru"
    """Recurrent cell: a name in rnn_jax.CELLS, or my_module:MyCell."""
    hidden_size: Size = 64
    readout: Literal["carry", "mean"] = "mean"
    """Input of the output layer: the output in the final carry, or the mean over all steps."""
    steps: Count = 2000
    """Number of training steps."""
    batch_size: Count = 32
    learning_rate: Positive = 5e-3
    schedule: Schedule = "cosine"
    clip_norm: NonNegative = 1.0
    log_every: Count = 100
    out_dir: Path = Path("runs/sequence_classification")

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        from rnn_jax.datasets.labeled_sequences import MNIST1D, check_installed

        super().check()
        if self.dataset == MNIST1D and self.data_dir is not None:
            raise InputError("--data-dir is for data sets of the archives; mnist1d is generated.")
        check_installed(self.dataset)


def main(config: Config) -> dict:
    """Train, evaluate on the test set, write the results, and return the summary."""
    config.check()
    import jax.numpy as jnp

    from rnn_jax import training
    from rnn_jax.datasets.labeled_sequences import load_sequences
    from rnn_jax.models.factory import build_classifier
    from rnn_jax.plotting.sequences import classes_figure
    from rnn_jax.plotting.training import training_figure
    from rnn_jax.training.losses import evaluate

    with training.open_run(config) as run:
        # Data
        data = load_sequences(config.dataset, config.data_dir)
        xs, lengths, labels = data.test
        order = training.BatchOrder(config.seed, len(data.train[0]), config.batch_size)

        # Model
        about = {"data": (data.train, data.test), "source": data.source}
        sizes = {"input_size": xs.shape[-1], "num_classes": len(data.classes)}
        create = run.describe(build_classifier, **about, **sizes, projection_size=0)

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed)
        step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_step_limit)

        # Training
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        logits_of = trainer.compile_predict(graphdef, predict, state, (xs, lengths))
        state = trainer.train(state, data.train)

        # Evaluation
        logits = logits_of(state)
        test_loss, accuracy = evaluate(jnp.asarray(logits), jnp.asarray(labels))
        results = {"test_accuracy": float(accuracy), "test_loss": float(test_loss)}
        summary = trainer.summarize(state, **results)

        # Figures
        if run.writes:
            title = f"{config.cell.upper()} on {config.dataset}, seed {config.seed}"
            curve = training_figure(trainer.rows, title, summary["test_accuracy"])
            classes = classes_figure(*data.test, logits.argmax(-1), data.classes, title)
            run.save_figures({"training.png": curve, "classes.png": classes})
        return trainer.finish(summary)


def loss(model, batch, keys):
    """Mean cross-entropy [nats] of a batch, and its accuracy from 0 to 1."""
    del keys
    from rnn_jax.training.losses import evaluate

    xs, lengths, labels = batch
    value, accuracy = evaluate(predict(model, (xs, lengths)), labels)
    return value, {"batch_accuracy": accuracy}


def predict(model, batch):
    """The logits [B, C] for sequences [B, T, D] and their lengths [B]."""
    xs, lengths = batch
    return model(xs.swapaxes(0, 1), lengths=lengths)


if __name__ == "__main__":
    run(main, Config)
