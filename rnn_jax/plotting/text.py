"""Figures of a character-level language model."""

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
"""Advance width of the characters of `FONT` [font sizes]."""
COLUMNS, LINES, LINE_HEIGHT = 84, 26, 0.18
SEARCHED = 100_000
"""Characters in the middle of a text that are divided into lines."""
MAX_BITS = 8
BITS_CMAP = LinearSegmentedColormap.from_list("bits", ["white", "#F6C59B", "#EE8A45"])
VISIBLE = {"\n": "↵", "\t": "→"}


def bits_figure(rows: Sequence[Mapping[str, Any]], summary: Mapping, title: str) -> Figure:
    """Plot bits per character over training, and those of the held-out text at the end.

    Args:
      rows: the rows of metrics.jsonl.
      summary: the keys `test_bits`, `unigram_bits`, `bigram_bits`, `characters` and `examples`.
      title: the title.

    Raises:
      InputError: there are no rows.
    """
    if not rows:
        raise InputError("rows must have at least one row, got none; train for a step first.")
    length = summary["characters"] / summary["examples"]
    end, test = rows[-1]["examples"] * length, summary["test_bits"]
    pairs = [[row["examples"] * length, row["bits_per_character"]] for row in regular_rows(rows)]
    read, bits = np.array(pairs, float).T
    with house_style():
        figure = new_figure(3.4, title)
        axes = figure.subplots()
        plot_curve(axes, read, bits, "bits per character", end)
        axes.set_xlabel("training characters seen")
        for name in ("unigram", "bigram"):
            value = summary[f"{name}_bits"]
            axes.axhline(value, color=MUTED, lw=1, ls="--")
            note = f"{name} entropy of the held-out text: {value:.2f}"
            offset = {"xytext": (0, 2), "textcoords": "offset points"}
            small = {"color": MUTED, "size": 9, "ha": "right", "va": "bottom"}
            axes.annotate(note, (0.99 * end, value), **offset, **small)
        look: dict[str, Any] = {
            "color": VERMILLION,
            "weight": "bold",
            "ha": "right",
            "va": "bottom",
            "bbox": {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1},
        }
        axes.plot(end, test, "D", color=VERMILLION, mec="white", ms=9, clip_on=False, zorder=5)
        place: dict[str, Any] = {"xytext": (0, 9), "textcoords": "offset points"}
        axes.annotate(f"held-out {test:.2f}", (end, test), **place, **look)
        axes.set_ylim(0, 1.05 * np.nanmax([*bits, test, summary["unigram_bits"], 0.1]))
        if len(bits) > 1:
            axes.legend(loc="lower left")
    return figure


def character_bits_figure(text: str, bits: ArrayLike, title: str) -> Figure:
    """Show the middle lines of a text, with characters colored by negative log-likelihood.

    Args:
      text: N characters.
      bits: the negative log-likelihood of each character [N, bits].
      title: the title.

    Raises:
      InputError: the lengths of text and bits differ, or are 0.
    """
    bits = np.asarray(bits)
    if not len(text) == len(bits) > 0:
        raise InputError(
            "text and bits must have the same length of at least 1, "
            f"got {len(text)} characters and bits of shape {bits.shape}."
        )
    middle = slice(max(0, len(text) // 2 - SEARCHED // 2), len(text) // 2 + SEARCHED // 2)
    text, bits = text[middle], bits[middle]
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
        page.imshow(grid, BITS_CMAP, vmin=0, vmax=MAX_BITS, extent=extent, interpolation="nearest")
        look = {"family": FONT, "size": 72 * width / COLUMNS / ADVANCE, "va": "center_baseline"}
        for number, line in enumerate(lines):
            y = top - (number + 0.5) * LINE_HEIGHT
            shown = "".join(_shown(text[i]) for i in line)
            page.text(MARGIN, y, shown, color=INK, parse_math=False, **look)
        _draw_scale(page, top + 0.14)
    return figure


def _lines(text):
    """Split a text into lines of at most `COLUMNS` characters, as ranges of indices."""
    ends = np.cumsum([len(line) for line in text.split("\n")]) + np.arange(1, text.count("\n") + 2)
    starts = [0, *ends[:-1]]
    return [
        range(begin, min(begin + COLUMNS, end, len(text)))
        for start, end in zip(starts, ends.tolist(), strict=True)
        for begin in range(start, min(end, len(text)), COLUMNS)
    ]


def _shown(character):
    """Return a character that the font can show: the same one where possible."""
    character = VISIBLE.get(character) or character
    known = character.isprintable() and get_font(findfont(FONT)).get_char_index(ord(character))
    return character if known else "□"


def _draw_scale(page, y):
    note = "Held-out text, colored by the negative log-likelihood of each character"
    page.text(MARGIN, y, note, weight="bold", va="center")
    left, right = WIDTH - 1.9, WIDTH - 0.75
    page.imshow(np.linspace(0, 1, 64)[None], BITS_CMAP, extent=(left, right, y - 0.06, y + 0.06))
    small = {"size": 9, "color": MUTED, "va": "center"}
    page.text(left - 0.06, y, "0", ha="right", **small)
    page.text(right + 0.06, y, f"≥{MAX_BITS} bits", **small)
