"""Translate dates in many written forms to ISO 8601: sequence to sequence."""

import dataclasses
import functools
from pathlib import Path

from rnn_jax.training.commands.cli import check_at_least, check_at_most, run
from rnn_jax.training.commands.config import TrainConfig, own_options_first

VERDICT = "{test_accuracy:.2%} of unseen dates translated without a mistake"
ATTENDED = 0, 5, 7, 13
"""Indices of the forms in the figure of attention weights."""


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Translate "Mon 3 of March, 2025", 3.3.25 and 二〇二五年三月三日 to 2025-03-03.

    One recurrent layer encodes the date character by character, another one decodes the
    translation. No date of the test set occurs in the training set, in any form. Numeric dates
    start with the day, so that 03/04/25 is 3 April 2025, or with a year of four digits; years of
    two digits are 1969 to 2068. The default run takes about one minute on two CPU cores.
    """

    cell: str = "lstm"
    """Recurrent cell of encoder and decoder."""
    hidden_size: int = 128
    """Hidden units of encoder and decoder each."""
    attention: bool = False
    """Use attention over the states of the encoder."""
    steps: int = 3000
    """Number of training steps."""
    test_dates: int = 10_000
    """Number of held-out dates from 1969 to 2068, each in one form."""
    learning_rate: float = 3e-3
    """Learning rate; the highest one of a schedule."""
    log_every: int = 50
    """Steps between two rows of metrics; the steps in between run as one compiled call."""
    out_dir: Path = Path("runs/date_translation")
    """Folder for results; if the default one holds a run, the next free one: -2, -3, ..."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        super().check()
        check_at_least(self, hidden_size=1, steps=1, test_dates=1)
        check_at_most(self, hidden_size=10**6)


def main(config: Config) -> dict:
    """Train, translate the held-out dates, write the results, and return the summary."""
    config.check()
    import dates
    import numpy as np

    from rnn_jax import training
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
        settings = run.describe(build_encoder_decoder, **data, **sizes)
        create = functools.partial(build_encoder_decoder, settings)

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed)
        step = training.make_train_step(
            graphdef, loss, optimizer, run.mesh, config.bad_steps_allowed
        )

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
            run.save_figures(figures(summary, trainer.rows, model, test_texts, truths, made))
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
    from dates import ISO_LENGTH

    sources, lengths = batch
    return model.translate(sources.T, lengths, ISO_LENGTH).symbols.T


def figures(summary, rows, model, texts, truths, made):
    """The training curve, translations and, with attention, the weights of some dates."""
    import jax
    import numpy as np
    from dates import FORMS, PINYIN, encode, to_pinyin

    from rnn_jax.plotting.style import font_with
    from rnn_jax.plotting.training import training_figure
    from rnn_jax.plotting.translation import attention_figure, translations_figure

    name = summary["cell"].upper() + " with attention" * summary["attention"]
    title = f"{name} writes dates in ISO form, seed {summary['seed']}"
    forms, font = np.arange(len(texts)) % len(FORMS), font_with("".join(PINYIN))
    shown = texts if font else [to_pinyin(text) for text in texts]
    note = "" if font else " (Chinese characters in pinyin, which translate.py reads too)"
    figures = {
        "training.png": training_figure(rows, title, summary["test_accuracy"]),
        "translations.png": translations_figure(shown, made, truths, forms, title + note, font),
    }
    if summary["attention"]:
        few = texts[: len(FORMS)]
        sources, lengths = map(jax.numpy.asarray, encode(few))
        weights = model.translate(sources.T, lengths, len(made[0])).weights
        names = {} if font else PINYIN
        labels = [[names.get(character, character) for character in text] for text in few]
        panels = [(labels[i], made[i], weights[:, :, i]) for i in ATTENDED]
        title = f"{name}: attention weights, seed {summary['seed']}"
        figures["attention.png"] = attention_figure(*zip(*panels, strict=True), title + note, font)
    return figures


if __name__ == "__main__":
    run(main, Config)
