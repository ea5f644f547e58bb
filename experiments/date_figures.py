"""Figures of date_translation.py."""

import jax
import numpy as np

from rnn_jax.datasets.dates import FORMS, PINYIN, encode, to_pinyin
from rnn_jax.plotting.style import font_with
from rnn_jax.plotting.training import training_figure
from rnn_jax.plotting.translation import attention_figure, translations_figure

ATTENDED = 0, 5, 7, 13
"""Indices of the date forms shown in the figure of attention weights."""


def figures(summary, rows, model, texts, truths, made):
    """The training curve, translations and, with attention, the weights of some dates."""
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
