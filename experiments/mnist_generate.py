"""Generate images of digits from a label, row by row: one to many."""

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
from rnn_jax.training.commands.config import TrainConfig, own_options_first

BUNDLED = Path(__file__).parent / "mnist_files"
DIGITS = 10
VERDICT = (
    "{test_nll:.2f} nats per image; {read_as_asked:.2%} of the samples and "
    "{real_read:.2%} of the real digits are classified as their label"
)


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Train a generator of binary images of digits, given their labels, one row at a time.

    The recurrent state represents the label and the rows above. Given the state, a small
    autoregressive network samples the pixels of a row from left to right. A trained run of
    mnist_lstm.py, which has only seen real digits, measures how many samples show their label. The
    default run takes about three minutes on two CPU cores.
    """

    cell: str = "lstm"
    """Recurrent cell."""
    hidden_size: int = 256
    """Hidden units of the cell."""
    row_size: int = 64
    """Hidden units of the network that samples a row."""
    examples: int = 250_000
    """Total number of training examples; an epoch of MNIST has 60,000."""
    learning_rate: float = 3e-3
    """Learning rate; the highest one of a schedule."""
    schedule: Literal["constant", "cosine", "warmup-cosine"] = "cosine"
    """Learning rate schedule: constant, half a cosine to 0 at the last step, or the same after a
    linear warmup over the first tenth of the steps."""
    ink: Literal["threshold", "sampled"] = "threshold"
    """Binarize gray values by the threshold 127, or sample with the gray value as probability."""
    unlabelled: float = 0.1
    """Fraction of training examples without a label, which guidance needs."""
    temperature: float = 1.0
    """Sampling temperature: 1 for the model distribution, 0 for the most likely pixels."""
    guidance: float = 1.5
    """Strength of classifier-free guidance: 1 for none, more for clearer digits."""
    classifier: Path = Path("runs/mnist_lstm")
    """Finished run of mnist_lstm.py that classifies the samples."""
    trust_modules: bool = False
    """Import the module of a cell that the run of --classifier names; this runs its code."""
    data_dir: Path | None = None
    """Data folder of TFDS; by default the one that TFDS uses."""
    out_dir: Path = Path("runs/mnist_generate")
    """Folder for results; if the default one holds a run, the next free one: -2, -3, ..."""

    @property
    def steps(self) -> int:
        """Number of training steps: enough whole batches for all examples."""
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
    """Train, generate digits, classify them, write the results, and return the summary."""
    config.check()
    import numpy as np

    from rnn_jax import training
    from rnn_jax.datasets import image_data
    from rnn_jax.models.row_generator import (
        binarize,
        build_row_generator,
        row_generator_loss,
    )
    from rnn_jax.training.runs.digit_reader import load_image_classifier

    with training.open_run(config) as run:
        # Data, and the classifier of the results
        probabilities, trained = load_image_classifier(
            config.classifier, trust_modules=config.trust_modules
        )
        if trained.get("dataset") != "mnist":
            raise InputError(
                f"--classifier was trained on {trained.get('dataset')}; give one trained on mnist."
            )
        images = image_data.load_images("mnist", config.data_dir, bundled=BUNDLED)
        one_hot, labels = np.eye(DIGITS, dtype=np.float32), images.test_labels
        train = binarize(images.train_images, config.ink), one_hot[images.train_labels]
        pixels = binarize(images.test_images, config.ink)
        test = pixels, one_hot[labels], np.arange(len(labels))
        order = training.BatchOrder(config.seed, len(images.train_labels), config.batch_size)

        # Model
        data = {"data": (train, test), "source": images.source}
        settings = run.describe(build_row_generator, **data, asked_size=DIGITS, width=28)
        create = functools.partial(build_row_generator, settings)

        # Loss, optimizer and training step
        loss = functools.partial(row_generator_loss, unconditional=config.unlabelled)
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed)
        step = training.make_train_step(
            graphdef, loss, optimizer, run.mesh, config.bad_steps_allowed
        )

        # Training
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        judge = functools.partial(evaluate_and_sample, config=config)
        predict = trainer.compile_predict(graphdef, judge, state, test)
        state = trainer.train(state, train)

        # Evaluation
        nll, samples = predict(state)
        read, real_read = (probabilities(255 * part).argmax(-1) for part in (samples, pixels))
        summary = trainer.summarize(
            state,
            test_nll=float(nll.mean()),
            read_as_asked=float((read == labels).mean()),
            real_read=float((real_read == labels).mean()),
            temperature=config.temperature,
            guidance=config.guidance,
        )

        # Figures
        if run.writes:
            run.save_figures(figures(summary, trainer.rows, samples, pixels, labels, read))
        return trainer.finish(summary)


def evaluate_and_sample(model, batch, config):
    """Negative log-likelihood [nats] of images [B], and a sample [B, 28, 28] for each label."""
    import jax

    pixels, labels, numbers = batch
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(config.seed), numbers)
    samples = model.sample(keys, labels, 28, config.temperature, config.guidance)
    return model.nll(pixels, labels), samples


def figures(summary, rows, samples, pixels, labels, read):
    """The training curve, and samples, framed where the classifier reads another digit."""
    from rnn_jax.plotting.digit_grid import digits_figure
    from rnn_jax.plotting.training import training_figure

    title = f"{summary['cell'].upper()} samples of MNIST digits, seed {summary['seed']}"
    share = f"{summary['read_as_asked']:.1%} of {len(labels):,}"
    note = f"{share} are classified as their label; framed: as another digit"
    return {
        "training.png": training_figure(rows, title, loss_name="loss [nats an image]"),
        "samples.png": digits_figure(samples, pixels, labels, read, title, note),
    }


if __name__ == "__main__":
    run(main, Config)
