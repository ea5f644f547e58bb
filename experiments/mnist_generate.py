"""Generate images of digits from a label, row by row: one to many."""

import dataclasses
import functools
from pathlib import Path
from typing import Literal

from rnn_jax.errors import InputError
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, ImageConfig, Schedule, own_options_first
from rnn_jax.training.commands.ranges import Count, NonNegative, Positive, Size

BUNDLED = Path(__file__).parent / "mnist_files"
DIGITS = 10
VERDICT = (
    "{test_nll:.2f} nats per image; {samples_correct:.2%} of the samples and "
    "{real_correct:.2%} of the real digits are classified as their label"
)


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, ImageConfig):
    """Train a model to generate binary images of digits from labels, one row at a time.

    The recurrent state represents the label and the rows above. Given the state, a small
    autoregressive network samples the pixels of a row from left to right. A trained run of
    mnist_lstm.py, which has only seen real digits, measures how many samples show their label. The
    default run takes about three minutes on two CPU cores.
    """

    hidden_size: Size = 256
    row_size: Size = 64
    """Hidden units of the network that samples a row."""
    examples: Count = 250_000
    learning_rate: Positive = 3e-3
    schedule: Schedule = "cosine"
    ink: Literal["threshold", "sampled"] = "threshold"
    """Binarize gray values at the threshold 127, or sample with the gray value as probability."""
    unlabelled: NonNegative = 0.1
    """Fraction of training examples without a label, which guidance requires."""
    temperature: NonNegative = 1.0
    """Sampling temperature: 1 for the model distribution, 0 for the most likely pixels."""
    guidance: Positive = 1.5
    """Strength of classifier-free guidance: 1 for none, more for clearer digits."""
    classifier: Path = Path("runs/mnist_lstm")
    """Finished run of mnist_lstm.py that classifies the samples."""
    trust_modules: bool = False
    """Import the module of a cell that the run of --classifier names; this runs its code."""
    out_dir: Path = Path("runs/mnist_generate")

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        super().check()
        part = self.unlabelled
        if part >= 1 or (part == 0 and self.guidance != 1):
            raise InputError(f"--unlabelled must be below 1, and above 0 for guidance, got {part}.")


def main(config: Config) -> dict:
    """Train, generate digits, classify them, write the results, and return the summary."""
    config.check()
    import numpy as np

    from rnn_jax import training
    from rnn_jax.datasets import image_data
    from rnn_jax.models import row_generator
    from rnn_jax.training.runs.digit_reader import load_image_classifier

    with training.open_run(config) as run:
        # Data, and the classifier that evaluates the results
        trusted = {"trust_modules": config.trust_modules}
        probabilities, _ = load_image_classifier(config.classifier, dataset="mnist", **trusted)
        images = image_data.load_images("mnist", config.data_dir, bundled=BUNDLED)
        parts = images.train_images, images.test_images
        train_pixels, pixels = (row_generator.binarize(part, config.ink) for part in parts)
        one_hot, labels = np.eye(DIGITS, dtype=np.float32), images.test_labels
        train = train_pixels, one_hot[images.train_labels]
        test = pixels, one_hot[labels], np.arange(len(labels))
        order = training.BatchOrder(config.seed, len(images.train_labels), config.batch_size)

        # Model
        data = {"data": (train, test), "source": images.source}
        sizes = {"condition_size": DIGITS, "width": images.test_images.shape[2]}
        create = run.describe(row_generator.build_row_generator, **data, **sizes)

        # Loss, optimizer and training step
        loss = functools.partial(row_generator.row_generator_loss, unconditional=config.unlabelled)
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed)
        step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_step_limit)

        # Training
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        options = {"temperature": config.temperature, "guidance": config.guidance}
        evaluate = functools.partial(row_generator.evaluate_and_sample, seed=config.seed, **options)
        predict = trainer.compile_predict(graphdef, evaluate, state, test)
        state = trainer.train(state, train)

        # Evaluation
        nll, samples = predict(state)
        read, real_read = (probabilities(255 * part).argmax(-1) for part in (samples, pixels))
        correct, real = (float((part == labels).mean()) for part in (read, real_read))
        results = {"test_nll": float(nll.mean()), "samples_correct": correct, "real_correct": real}
        summary = trainer.summarize(state, **results, **options)

        # Figures
        if run.writes:
            run.save_figures(figures(summary, trainer.rows, samples, pixels, labels, read))
        return trainer.finish(summary)


def figures(summary, rows, samples, pixels, labels, read):
    """The training curve, and samples, framed where the classifier predicts another digit."""
    from rnn_jax.plotting.digit_grid import digits_figure
    from rnn_jax.plotting.training import training_figure

    title = f"{summary['cell'].upper()} samples of MNIST digits, seed {summary['seed']}"
    return {
        "training.png": training_figure(rows, title, loss_name="loss [nats an image]"),
        "samples.png": digits_figure(samples, pixels, labels, read, title),
    }


if __name__ == "__main__":
    run(main, Config)
