"""Sheets of small digits, to be seen at a glance; NumPy and matplotlib only."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from rnn_jax.plotting.style import DPI, MARGIN, MUTED, VERMILLION, WIDTH, house_style, new_figure

SIDE = 84 / DPI
"""Inches of a digit of 28 pixels: 3 of the figure's for each, so that none is blurred."""

DRAWN, REAL = 10, 3
LEFT, GAP, ABOVE = 0.38, 0.2, 0.56


def digits_figure(
    drawn: ArrayLike, real: ArrayLike, asked: ArrayLike, read: ArrayLike, title: str, note: str
) -> Figure:
    """For each digit a row of the first that were drawn for it, and of the first real ones.

    drawn, real [N, 28, 28], from 0, paper, to 1, ink; asked [N]: what both are meant to be; read
    [N]: what the drawn ones are read as, framed and named where that is another digit. `note`
    stands above the drawn ones.
    """
    drawn, real, asked, read = map(np.asarray, (drawn, real, asked, read))
    digits = np.unique(asked)
    top, right = MARGIN + len(digits) * SIDE, LEFT + DRAWN * SIDE + GAP
    with house_style():
        figure = new_figure(top - MARGIN + ABOVE, title)
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, figure.get_figheight()))
        page.axis("off")
        page.text(LEFT, top + 0.1, "Drawn", weight="bold")
        page.text(right - GAP, top + 0.1, note, color=MUTED, ha="right")
        page.text(right, top + 0.1, "Real", weight="bold")
        page.vlines(right - GAP / 2, MARGIN, top, color=MUTED, lw=0.8)
        for row, digit in enumerate(digits):
            examples, y = np.flatnonzero(asked == digit), top - (row + 1) * SIDE
            page.text(MARGIN, y + SIDE / 2, f"{digit}", size=15, weight="bold", va="center")
            for place, i in enumerate(examples[:DRAWN]):
                _draw_digit(page, LEFT + place * SIDE, y, drawn[i])
                if read[i] != digit:
                    _frame(page, LEFT + place * SIDE, y, read[i])
            for place, i in enumerate(examples[:REAL]):
                _draw_digit(page, right + place * SIDE, y, real[i])
    return figure


def _draw_digit(page, x, y, image):
    extent = x, x + SIDE, y, y + SIDE
    page.imshow(image, "gray_r", vmin=0, vmax=1, interpolation="none", extent=extent)


def _frame(page, x, y, digit):
    page.add_patch(Rectangle((x, y), SIDE, SIDE, fill=False, color=VERMILLION, lw=1.5))
    look = {"size": 9, "color": VERMILLION, "weight": "bold"}
    look["bbox"] = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
    page.text(x + 0.04, y + 0.05, f"{digit}", **look)
