"""Figures that explain CTC: the lattice of a short sequence, and probabilities over frames."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import chain, cycle, pairwise

import numpy as np
from matplotlib.figure import Figure

from rnn_jax.plotting.style import (
    BLUE,
    COLORS,
    INK,
    LINE,
    MUTED,
    house_style,
    name_axes,
    new_figure,
)

BLANK = "-"
"""The blank in a path written as a string."""


def lattice_figure(paths: Mapping[str, float], labels: str, title: str) -> Figure:
    """Draw all paths of a label string through its lattice, and list them.

    A column is a frame; a row is a label of the string, or a blank before, between or after labels.
    The number in a node, and its shade, show the occupation probability: the share of paths through
    it. The width of a line shows the share of paths that use it.

    Args:
      paths: the probability of each path, written with one character for each frame, such as "a-b".
      labels: the label string of all paths, such as "ab".
      title: the title.
    """
    total = sum(paths.values())
    nodes, edges = defaultdict(float), defaultdict(float)
    for path, probability in paths.items():
        visited = list(enumerate(_states(path)))
        for node in visited:
            nodes[node] += probability / total
        for edge in pairwise(visited):
            edges[edge] += probability / total
    rows = [BLANK, *BLANK.join(labels), BLANK]
    frames = len(next(iter(paths)))
    with house_style():
        figure = new_figure(3.6, title)
        axes, text = figure.subplots(1, 2, width_ratios=(3, 1))
        for ((t, row), (_, to)), share in edges.items():
            axes.plot((t, t + 1), (row, to), color=BLUE, lw=0.5 + 9 * share, alpha=0.45, zorder=1)
        for t in range(frames):
            for row in range(len(rows)):
                share = nodes[t, row]
                edge = BLUE if share else LINE
                axes.scatter(t, row, 900, "white", edgecolors=edge, linewidths=1.5, zorder=2)
                axes.scatter(t, row, 900, BLUE, alpha=0.75 * share, linewidths=0, zorder=3)
                if share:
                    axes.text(t, row, f"{share:.2f}", ha="center", va="center", size=9, zorder=4)
        axes.set_xticks(range(frames), [f"frame {t + 1}" for t in range(frames)])
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlim=(-0.4, frames - 0.6), ylim=(len(rows) - 0.4, -0.6))
        axes.tick_params(length=0, labelsize=11)
        axes.spines[:].set_visible(False)
        text.axis("off")
        listed = {**paths, "sum": total}
        width = max(map(len, listed))
        lines = [f"{name:{width}}  {probability:.3f}" for name, probability in listed.items()]
        listing = {"family": "monospace", "size": 11, "va": "center", "linespacing": 1.6}
        text.text(0, 0.5, "\n".join(lines), transform=text.transAxes, color=INK, **listing)
    return figure


def symbol_figure(probabilities: Mapping[str, np.ndarray], symbols: str, title: str) -> Figure:
    """Plot the probability of each symbol over the frames, one panel for each entry.

    Args:
      probabilities: arrays [T, C] by the title of their panel.
      symbols: a character for each class, the blank first.
      title: the title.
    """
    with house_style():
        figure = new_figure(2.6, title)
        panels = figure.subplots(1, len(probabilities), squeeze=False)[0]
        for axes, (name, values) in zip(panels, probabilities.items(), strict=True):
            colors = chain([MUTED], cycle(COLORS))
            for symbol, curve, color in zip(symbols, values.T, colors, strict=False):
                style = "--" if symbol == BLANK else "-"
                label = "blank" if symbol == BLANK else symbol
                axes.plot(np.arange(1, len(curve) + 1), curve, style, color=color, label=label)
            name_axes(axes, "frame", name)
            axes.set_ylim(0, 1.02)
        panels[0].legend(loc="center right", frameon=False)
    return figure


def _states(path):
    """Yield the lattice row of each frame of a path."""
    count, before = 0, BLANK
    for symbol in path:
        count += symbol not in (before, BLANK)
        before = symbol
        yield 2 * count - (symbol != BLANK)
