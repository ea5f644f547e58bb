"""The figures of a model of text; NumPy and matplotlib only."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import ArrayLike

from rnn_jax.errors import InputError
from rnn_jax.plotting.style import INK, MARGIN, MUTED, VERMILLION, WIDTH, house_style, new_figure
from rnn_jax.plotting.training import plot_curve, regular_rows

FONT = "DejaVu Sans Mono"
ADVANCE = 1233 / 2048
"""How far apart the letters of FONT stand, in sizes of the font."""
COLUMNS, LINES, LINE_HEIGHT = 84, 26, 0.18
MOST_BITS = 8
SURPRISE = LinearSegmentedColormap.from_list("surprise", ["white", "#F6C59B", "#EE8A45"])
STANDS_FOR = {"\n": "↵", "\t": "→"}


def bits_figure(rows: Sequence[Mapping[str, Any]], summary: Mapping, title: str) -> Figure:
    """Bits per character over the characters read, and at the end those of the held-out text.

    rows: those of metrics.jsonl; summary: `test_bits`, and the `unigram_bits` and `bigram_bits` to
    compare it with, `characters` and `examples`.

    Raises:
      InputError: there are no rows.
    """
    if not rows:
        raise InputError("rows must hold at least one row, got none; train for a step first.")
    length = summary["characters"] / summary["examples"]
    end, test = rows[-1]["examples"] * length, summary["test_bits"]
    pairs = [[row["examples"] * length, row["bits_per_character"]] for row in regular_rows(rows)]
    read, bits = np.array(pairs, float).T
    with house_style():
        figure = new_figure(3.4, title)
        axes = figure.subplots()
        plot_curve(axes, read, bits, "bits per character", end)
        axes.set_xlabel("characters read")
        for name in ("unigram", "bigram"):
            value = summary[f"{name}_bits"]
            axes.axhline(value, color=MUTED, lw=1, ls="--")
            note = f"{name} entropy of the held-out text: {value:.2f}"
            axes.text(0.99 * end, value, note, color=MUTED, size=9, ha="right", va="bottom")
        look = {"color": VERMILLION, "weight": "bold", "ha": "right", "va": "bottom"}
        look["bbox"] = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
        axes.plot(end, test, "D", color=VERMILLION, mec="white", ms=9, clip_on=False, zorder=5)
        place = {"xytext": (0, 9), "textcoords": "offset points"}
        axes.annotate(f"held-out {test:.2f}", (end, test), **place, **look)
        axes.set_ylim(0, 1.05 * np.nanmax([*bits, test, summary["unigram_bits"], 0.1]))
        axes.legend(loc="lower left")
    return figure


def character_bits_figure(text: str, bits: ArrayLike, title: str) -> Figure:
    """Lines from the middle of a text, each character on the colour of the bits [N] it takes.

    Raises:
      InputError: there are not as many bits as characters, or none.
    """
    bits = np.asarray(bits)
    if not len(text) == len(bits) > 0:
        raise InputError(
            f"text and bits must be of one length above 0, got {len(text)} and {bits.shape}."
        )
    lines = _lines(text)
    first = max(0, len(lines) // 2 - LINES // 2)
    lines = lines[first : first + LINES]
    grid = np.full((len(lines), COLUMNS), np.nan)
    for row, line in zip(grid, lines, strict=True):
        row[: len(line)] = bits[line]
    height = LINE_HEIGHT * len(lines)
    with house_style():
        figure = new_figure(height + 0.55, title)
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, figure.get_figheight()))
        page.axis("off")
        width, top = WIDTH - 2 * MARGIN, height + MARGIN
        extent = (MARGIN, WIDTH - MARGIN, MARGIN, top)
        page.imshow(grid, SURPRISE, vmin=0, vmax=MOST_BITS, extent=extent, interpolation="nearest")
        look = {"family": FONT, "size": 72 * width / COLUMNS / ADVANCE, "va": "center_baseline"}
        for number, line in enumerate(lines):
            y = top - (number + 0.5) * LINE_HEIGHT
            shown = "".join(_shown(text[i]) for i in line)
            page.text(MARGIN, y, shown, color=INK, parse_math=False, **look)
        _draw_scale(page, top + 0.14)
    return figure


def _lines(text):
    """The places in the text of the characters of each line of at most COLUMNS."""
    ends = np.cumsum([len(line) for line in text.split("\n")]) + np.arange(1, text.count("\n") + 2)
    starts = [0, *ends[:-1]]
    return [
        range(begin, min(begin + COLUMNS, end, len(text)))
        for start, end in zip(starts, ends.tolist(), strict=True)
        for begin in range(start, min(end, len(text)), COLUMNS)
    ]


def _shown(character):
    """What stands for a character: itself, if it is to be seen and the font has it."""
    character = STANDS_FOR.get(character, character)
    known = character.isprintable() and get_font(findfont(FONT)).get_char_index(ord(character))
    return character if known else "□"


def _draw_scale(page, y):
    note = "Held-out text, on the colour of each character's surprise"
    page.text(MARGIN, y, note, weight="bold", va="center")
    left, right = WIDTH - 2.3, WIDTH - 0.75
    page.imshow(np.linspace(0, 1, 64)[None], SURPRISE, extent=(left, right, y - 0.06, y + 0.06))
    small = {"size": 9, "color": MUTED, "va": "center"}
    page.text(left - 0.06, y, "0", ha="right", **small)
    page.text(right + 0.06, y, f"{MOST_BITS} bits", **small)
