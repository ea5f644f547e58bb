"""Translate dates in many written forms to ISO 8601: sequence to sequence."""

import dataclasses
from pathlib import Path

from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, TrainConfig, own_options_first
from rnn_jax.training.commands.ranges import Count, Positive

VERDICT = "{test_accuracy:.2%} of unseen dates translated without a mistake"


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, TrainConfig):
    """Translate "Mon 3 of March, 2025", 3.3.25 and 二〇二五年三月三日 to 2025-03-03.

    One recurrent layer encodes the date character by character, and another decodes the
    translation. No date of the test set occurs in the training set, in any form. Numeric dates
    start with the day, so 03/04/25 is 3 April 2025, or with a four-digit year; two-digit years
    stand for 1969 to 2068. The default run takes about one minute on two CPU cores.
    """

    attention: bool = False
    """Use attention over the encoder states."""
    steps: Count = 3000
    """Number of training steps."""
    test_dates: Count = 10_000
    """Number of held-out dates from 1969 to 2068, each in one form."""
    learning_rate: Positive = 3e-3
    log_every: Count = 50
    out_dir: Path = Path("runs/date_translation")


def main(config: Config) -> dict:
    """Train, translate the held-out dates, write the results, and return the summary."""
    config.check()
    import date_figures
    import numpy as np

    from rnn_jax import training
    from rnn_jax.datasets import dates
    from rnn_jax.models.encoder_decoder import build_encoder_decoder

    with training.open_run(config) as run:
        # Data
        known, unseen = dates.split(config.test_dates)
        count = len(dates.FORMS)
        texts = [text for date in known for text in dates.in_all_forms(date)]
        test_texts = [dates.in_all_forms(date)[i % count] for i, date in enumerate(unseen)]
        train = *dates.encode(texts), dates.encode_iso(known).repeat(count, axis=0)
        test, truths = dates.encode(test_texts), [date.isoformat() for date in unseen]
        order = training.BatchOrder(config.seed, len(texts), config.batch_size)

        # Model
        name = f"{len(known):,} dates in {count} forms each; {len(unseen):,} other dates held out"
        sizes = {
            "source_size": len(dates.CHARACTERS),
            "target_size": len(dates.ISO_CHARACTERS),
        }
        data = {"data": (train, test), "source": name}
        create = run.describe(build_encoder_decoder, **data, **sizes)

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed)
        step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_step_limit)

        # Training
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        predict = trainer.compile_predict(graphdef, translate, state, test)
        state = trainer.train(state, train)

        # Evaluation
        made = dates.decode_iso(predict(state))
        accuracy = float(np.mean(np.array(made) == truths))
        summary = trainer.summarize(state, test_accuracy=accuracy)

        # Figures
        if run.writes:
            model = training.model_of(graphdef, state)
            translated = test_texts, truths, made
            run.save_figures(date_figures.figures(summary, trainer.rows, model, *translated))
        return trainer.finish(summary)


def loss(model, batch, keys):
    """Mean cross-entropy of a character [nats], and the fraction of dates without a mistake."""
    del keys
    import optax

    sources, lengths, targets = batch
    logits = model(sources.T, lengths, targets.T)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets.T)
    right = (logits.argmax(-1) == targets.T).all(0)
    return losses.mean(), {"batch_accuracy": right.mean()}


def translate(model, batch):
    """The translations [B, T] of a batch of sources and lengths."""
    from rnn_jax.datasets.dates import ISO_LENGTH

    sources, lengths = batch
    return model.translate(sources.T, lengths, ISO_LENGTH).symbols.T


if __name__ == "__main__":
    run(main, Config)
