"""Figures of a translation model: example translations and attention weights."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rnn_jax.errors import InputError
from rnn_jax.plotting.style import (
    INK,
    LINE,
    MARGIN,
    MUTED,
    VERMILLION,
    WIDTH,
    house_style,
    name_axes,
    new_figure,
)

LINE_HEIGHT, CHARACTER_WIDTH, MOST_WRONG = 0.24, 0.085, 8
TRANSLATION, NOTE = 4.1, 6.0
"""Left edges of the second and third columns [inches]."""


def translations_figure(
    sources: Sequence[str],
    translations: Sequence[str],
    truths: Sequence[str],
    forms: ArrayLike,
    title: str,
    font: str | None = None,
) -> Figure:
    """Tabulate the first source and the number of correct ones per format, and the first mistakes.

    Wrong characters are highlighted.

    Args:
      sources, translations, truths: texts; a translation and its truth have the same length.
      forms: the format number of each source [N].
      title: the title.
      font: a font family for characters that the default font lacks.

    Raises:
      InputError: there are no sources, or the lengths differ.
    """
    forms = np.asarray(forms)
    lengths = len(sources), len(translations), len(truths), len(forms)
    if not min(lengths) == max(lengths) > 0:
        raise InputError(
            "sources, translations, truths and forms must have the same length of at least 1, "
            f"got {lengths}."
        )
    correct = np.array([made == truth for made, truth in zip(translations, truths, strict=True)])
    wrong = np.flatnonzero(~correct)
    parts = [("First date in each format", "correct in this format", [])]
    for form in np.unique(forms):
        own = correct[forms == form]
        first = int(np.flatnonzero(forms == form)[0])
        parts[0][2].append((first, f"{own.sum():,} of {len(own):,}"))
    if len(wrong):
        name = "Mistakes" if len(wrong) <= MOST_WRONG else f"The first {MOST_WRONG} mistakes"
        rows = [(i, truths[i]) for i in wrong[:MOST_WRONG]]
        parts.append((f"{name} of {len(wrong):,} in {len(correct):,}", "true date", rows))
    y = sum(len(rows) + 1.8 for *_, rows in parts) * LINE_HEIGHT
    with house_style():
        figure = new_figure(y + 0.25, title)
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, figure.get_figheight()))
        page.axis("off")
        for name, column, rows in parts:
            page.text(MARGIN, y, name, weight="bold")
            page.text(TRANSLATION, y, "translation", color=MUTED, size=9)
            page.text(NOTE, y, column, color=MUTED, size=9)
            page.hlines(y - 0.08, MARGIN, WIDTH - MARGIN, color=LINE)
            for i, note in rows:
                y -= LINE_HEIGHT
                source: str = str(sources[i])
                page.text(MARGIN, y - 0.06, source, parse_math=False, family=_families(font))
                _draw_marked(page, y - 0.06, translations[i], truths[i])
                page.text(NOTE, y - 0.06, note, color=MUTED)
            y -= 1.8 * LINE_HEIGHT
    return figure


def _families(font):
    return ["DejaVu Sans", *([font] if font else [])]


def _draw_marked(page, y, made, truth) -> None:
    for column, (character, expected) in enumerate(zip(made, truth, strict=True)):
        correct = character == expected
        look = {"color": INK} if correct else {"color": VERMILLION, "weight": "bold"}
        x = TRANSLATION + CHARACTER_WIDTH * column
        page.text(x, y, character, family="monospace", parse_math=False, **look)


def attention_figure(
    sources: Sequence[Sequence[str]],
    translations: Sequence[str],
    weights: Sequence[ArrayLike],
    title: str,
    font: str | None = None,
) -> Figure:
    """Plot attention weights as heat maps, two panels per row.

    Args:
      sources: for each panel, the labels of the input steps.
      translations: for each panel, T output characters.
      weights: for each panel, weights in [0, 1], [T, S]; steps without a label are omitted.
      title: the title.
      font: a font family for characters that the default font lacks.
    """
    rows = -(-len(sources) // 2)
    with house_style():
        figure = new_figure(2.6 * rows + 0.5, title)
        figure.subplots_adjust(bottom=0.82 / figure.get_figheight())
        panels = figure.subplots(rows, 2, squeeze=False, gridspec_kw={"hspace": 0.55}).ravel()
        for axes, labels, made, shown in zip(panels, sources, translations, weights, strict=False):
            shown = np.asarray(shown)[:, : len(labels)]
            axes.imshow(shown, "Blues", vmin=0, vmax=1)
            axes.set_xticks(range(len(labels)), labels, size=8, family=_families(font))
            axes.set_yticks(range(len(made)), made, size=8)
            name_axes(axes, "input", "output")
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        for axes in panels[len(sources) :]:
            axes.axis("off")
        _draw_scale(figure)
    return figure


def _draw_scale(figure) -> None:
    height = figure.get_figheight()
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height), zorder=-1)
    page.axis("off")
    left, right, y = WIDTH - 1.6, WIDTH - 0.45, 0.15
    scale = np.linspace(0, 1, 64)[None]
    page.imshow(scale, "Blues", extent=(left, right, y - 0.06, y + 0.06))
    small = {"size": 9, "color": MUTED, "va": "center"}
    page.text(left - 0.06, y, "attention weight; each row sums to 1     0", ha="right", **small)
    page.text(right + 0.06, y, "1", **small)
