"""Translate dates as people write them to ISO 8601: sequence to sequence."""

import dataclasses
import functools
from pathlib import Path

from rnn_jax.training.commands.cli import check_at_least, check_at_most, run
from rnn_jax.training.commands.config import TrainConfig

ATTENDED = 0, 5, 7, 13
"""The forms whose attention is drawn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Translate "Mon 3 of March, 2025", 3.3.25 and 二〇二五年三月三日 to 2025-03-03.

    One recurrent layer reads the date character by character, another writes the translation. No
    date of the test is one of those to train on, in whatever form. Numbers alone begin with the
    day, so that 03/04/25 is 3 April 2025, or with a year of four digits; years of two digits are
    1969 to 2068.
    """

    cell: str = "lstm"
    """The recurrent cell, of encoder and decoder."""
    hidden_size: int = 128
    """Hidden units of each of the two."""
    attention: bool = False
    """Let the decoder look back at every character it has read."""
    steps: int = 3000
    """Training steps."""
    test_dates: int = 10_000
    """Dates of the century 1969 to 2068 that are held out, each in one form."""
    learning_rate: float = 3e-3
    """Adam's learning rate."""
    log_every: int = 50
    """Steps between two rows of metrics; the steps between run as one compiled call."""
    out_dir: Path = Path("runs/date_translation")
    """Folder for results; where the default holds a run, the next free one: -2, -3, ..."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        super().check()
        check_at_least(self, hidden_size=1, steps=1, test_dates=1)
        check_at_most(self, hidden_size=10**6)


def main(config: Config) -> dict:
    """Train, translate the dates held out, write the results, and return the summary."""
    config.check()
    from rnn_jax.training.experiment import perform

    return perform(config, prepare)


def prepare(config: Config):
    """The experiment that the flags describe."""
    import dates

    from rnn_jax.models.encoder_decoder import build_encoder_decoder
    from rnn_jax.training.batches import BatchOrder
    from rnn_jax.training.experiment import Experiment

    known, unseen = dates.split(config.test_dates)
    count = len(dates.FORMS)
    texts = [text for date in known for text in dates.in_all_forms(date)]
    test_texts = [dates.in_all_forms(date)[i % count] for i, date in enumerate(unseen)]
    targets = dates.encode_iso(known).repeat(count, axis=0)
    truths = [date.isoformat() for date in unseen]
    return Experiment(
        build=build_encoder_decoder,
        facts={
            "source_size": len(dates.CHARACTERS),
            "target_size": len(dates.ISO_CHARACTERS),
        },
        source=f"{len(known):,} dates in {count} forms each; {len(unseen):,} other dates held out",
        loss=loss,
        data=(*dates.encode(texts), targets),
        order=BatchOrder(config.seed, len(texts), config.batch_size),
        predict=translate,
        test_data=dates.encode(test_texts),
        evaluate=functools.partial(_evaluate, truths),
        verdict="{test_accuracy:.2%} of unseen dates translated without a mistake",
        draw=functools.partial(_draw, test_texts, truths),
    )


def loss(model, batch, keys, memory):
    """Mean cross-entropy of a character [nats], and the share of dates without a mistake."""
    del keys
    import optax

    sources, lengths, targets = batch
    logits = model(sources.T, lengths, targets.T)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets.T)
    right = (logits.argmax(-1) == targets.T).all(0)
    return losses.mean(), ({"batch_accuracy": right.mean()}, memory)


def translate(model, batch):
    """The translations [B, T] of a batch of sources and lengths."""
    from dates import ISO_LENGTH

    sources, lengths = batch
    return model.translate(sources.T, lengths, ISO_LENGTH).symbols.T


def _evaluate(truths, symbols):
    import numpy as np
    from dates import decode_iso

    return {"test_accuracy": float(np.mean(np.array(decode_iso(symbols)) == truths))}


def _draw(texts, truths, result):
    import jax
    import numpy as np
    from dates import FORMS, PINYIN, decode_iso, encode, to_pinyin

    from rnn_jax.plotting.style import font_with
    from rnn_jax.plotting.training import training_figure
    from rnn_jax.plotting.translation import attention_figure, translations_figure

    summary, made = result.summary, decode_iso(result.outputs)
    name = summary["cell"].upper() + " with attention" * summary["attention"]
    title = f"{name} writes dates in ISO form, seed {summary['seed']}"
    forms, font = np.arange(len(texts)) % len(FORMS), font_with("".join(PINYIN))
    shown = texts if font else [to_pinyin(text) for text in texts]
    note = "" if font else " (Chinese characters in pinyin, which translate.py reads too)"
    figures = {
        "training.png": training_figure(result.rows, title, summary["test_accuracy"]),
        "translations.png": translations_figure(shown, made, truths, forms, title + note, font),
    }
    if summary["attention"]:
        few = texts[: len(FORMS)]
        sources, lengths = map(jax.numpy.asarray, encode(few))
        weights = result.model.translate(sources.T, lengths, len(made[0])).weights
        names = {} if font else PINYIN
        labels = [[names.get(character, character) for character in text] for text in few]
        panels = [(labels[i], made[i], weights[:, :, i]) for i in ATTENDED]
        title = f"{name}: what is read for each character written, seed {summary['seed']}"
        figures["attention.png"] = attention_figure(*zip(*panels, strict=True), title + note, font)
    return figures


if __name__ == "__main__":
    run(main, Config)
