"""Grids of generated digits next to real ones."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from rnn_jax.plotting.style import DPI, MARGIN, MUTED, VERMILLION, WIDTH, house_style, new_figure

SIDE = 84 / DPI
"""Side of a digit [inches]: exactly 3 figure pixels for each of 28 pixels, to avoid blurring."""

GENERATED, REAL = 10, 3
"""Examples of each digit."""
LEFT, GAP, ABOVE = 0.38, 0.2, 0.56


def digits_figure(
    generated: ArrayLike,
    real: ArrayLike,
    labels: ArrayLike,
    predicted: ArrayLike,
    title: str,
) -> Figure:
    """Plot a row of generated and real examples for each digit; frame misclassified ones.

    Args:
      generated, real: images [N, 28, 28], from 0 (paper) to 1 (ink).
      labels: the class of both [N].
      predicted: the class of each generated image according to a classifier [N].
      title: the title.
    """
    generated, real, labels, predicted = map(np.asarray, (generated, real, labels, predicted))
    digits = np.unique(labels)
    share = f"{(predicted == labels).mean():.1%} of {len(labels):,}"
    note = f"{share} classified as their label; framed: as another"
    top, right = MARGIN + len(digits) * SIDE, LEFT + GENERATED * SIDE + GAP
    with house_style():
        figure = new_figure(top - MARGIN + ABOVE, title)
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, figure.get_figheight()))
        page.axis("off")
        page.text(LEFT, top + 0.1, "Generated", weight="bold")
        page.text(right - GAP, top + 0.1, note, color=MUTED, ha="right")
        page.text(right, top + 0.1, "Real", weight="bold")
        page.vlines(right - GAP / 2, MARGIN, top, color=MUTED, lw=0.8)
        for row, digit in enumerate(digits):
            examples, y = np.flatnonzero(labels == digit), top - (row + 1) * SIDE
            page.text(MARGIN, y + SIDE / 2, f"{digit}", size=15, weight="bold", va="center")
            for column, i in enumerate(examples[:GENERATED]):
                _draw_digit(page, LEFT + column * SIDE, y, generated[i])
                if predicted[i] != digit:
                    _frame(page, LEFT + column * SIDE, y, predicted[i])
            for column, i in enumerate(examples[:REAL]):
                _draw_digit(page, right + column * SIDE, y, real[i])
    return figure


def _draw_digit(page, x, y, image):
    extent = x, x + SIDE, y, y + SIDE
    page.imshow(image, "gray_r", vmin=0, vmax=1, interpolation="none", extent=extent)


def _frame(page, x, y, digit):
    page.add_patch(Rectangle((x, y), SIDE, SIDE, fill=False, color=VERMILLION, lw=1.5))
    look = {"size": 9, "color": VERMILLION, "weight": "bold"}
    look["bbox"] = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
    page.text(x + 0.04, y + 0.05, f"{digit}", **look)
