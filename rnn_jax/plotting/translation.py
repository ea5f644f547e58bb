"""The figures of a translator: what it made of which source, and what it attended to."""

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
"""Where the second and third column begin [inches]."""


def translations_figure(
    sources: Sequence[str],
    translations: Sequence[str],
    truths: Sequence[str],
    forms: ArrayLike,
    title: str,
    font: str | None = None,
) -> Figure:
    """A table: of each form of a source the first and how many were right, and the first mistakes.

    Characters that are wrong are marked. `forms` [N] is the number of each source's form; `font` a
    family for characters that the font of the figures lacks.

    Raises:
      InputError: no sources, or lengths that differ.
    """
    forms = np.asarray(forms)
    lengths = len(sources), len(translations), len(truths), len(forms)
    if not min(lengths) == max(lengths) > 0:
        raise InputError(
            f"sources, translations, truths and forms must be of one length above 0, got {lengths}."
        )
    right = np.array([made == truth for made, truth in zip(translations, truths, strict=True)])
    wrong = np.flatnonzero(~right)
    parts = [("One of each form", "right", [])]
    for form in np.unique(forms):
        own = right[forms == form]
        first = int(np.flatnonzero(forms == form)[0])
        parts[0][2].append((first, f"{own.sum():,} of {len(own):,}"))
    if len(wrong):
        name = "Mistakes" if len(wrong) <= MOST_WRONG else f"The first {MOST_WRONG} mistakes"
        rows = [(i, f"is {truths[i]}") for i in wrong[:MOST_WRONG]]
        parts.append((f"{name} of {len(wrong):,} in {len(right):,}", "", rows))
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
                page.text(MARGIN, y - 0.06, sources[i], parse_math=False, family=_families(font))
                _draw_marked(page, y - 0.06, translations[i], truths[i])
                page.text(NOTE, y - 0.06, note, color=MUTED)
            y -= 1.8 * LINE_HEIGHT
    return figure


def _families(font):
    return ["DejaVu Sans", *([font] if font else [])]


def _draw_marked(page, y, made, truth) -> None:
    for place, (character, wanted) in enumerate(zip(made, truth, strict=True)):
        good = character == wanted
        look = {"color": INK} if good else {"color": VERMILLION, "weight": "bold"}
        x = TRANSLATION + CHARACTER_WIDTH * place
        page.text(x, y, character, family="monospace", parse_math=False, **look)


def attention_figure(
    sources: Sequence[Sequence[str]],
    translations: Sequence[str],
    weights: Sequence[ArrayLike],
    title: str,
    font: str | None = None,
) -> Figure:
    """What each character of a translation attended to in its source, two panels a row.

    sources: the labels of each source's steps; translations: of T characters each; weights [T, S]
    of each, in [0, 1], of which the steps that have no label are left out; font: a family for
    characters that the font of the figures lacks.
    """
    rows = -(-len(sources) // 2)
    with house_style():
        figure = new_figure(2.6 * rows + 0.2, title)
        panels = figure.subplots(rows, 2, squeeze=False, gridspec_kw={"hspace": 0.55}).flat
        for axes, labels, made, shown in zip(panels, sources, translations, weights, strict=False):
            shown = np.asarray(shown)[:, : len(labels)]
            axes.imshow(shown, "Blues", vmin=0, vmax=1)
            axes.set_xticks(range(len(labels)), labels, size=8, family=_families(font))
            axes.set_yticks(range(len(made)), made, size=8)
            name_axes(axes, "read", "written; each row adds up to 1")
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        for axes in list(panels)[len(sources) :]:
            axes.axis("off")
    return figure
