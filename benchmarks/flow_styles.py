"""Colors, dashes and markers of the lines in the gradient-flow figures."""

from collections.abc import Sequence

import numpy as np
from flow_report import Line
from matplotlib.axes import Axes

from rnn_jax.plotting import style

DASHES = ("-", (0, (5, 1.5)), (0, (7, 1.5, 1.5, 1.5)), (0, (2.5, 1)), (0, (6, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")


class Looks:
    """Line styles: a color for each cell, dashes for each initialization."""

    def __init__(self, shown: Sequence[Line]):
        cells = list(dict.fromkeys(line.cell for line in shown))
        own = {cell: [line.name for line in shown if line.cell == cell] for cell in cells}
        palette = {"rnn": style.VERMILLION, "lstm": style.BLUE, "gru": style.GREEN}
        spare = [style.PURPLE, style.INK, style.MUTED]
        others = [cell for cell in cells if cell not in palette]
        palette |= {cell: spare[i % len(spare)] for i, cell in enumerate(others)}
        self._palette = palette
        places = {line.name: own[line.cell].index(line.name) % len(DASHES) for line in shown}
        self._dashes = {name: DASHES[place] for name, place in places.items()}
        self._markers = {name: MARKERS[place] for name, place in places.items()}

    def color(self, line: Line) -> str:
        """Color of the cell of a line."""
        return self._palette[line.cell]

    def of(self, line: Line) -> dict:
        """Color and dashes, as keyword arguments of `Axes.plot`."""
        return {"color": self.color(line), "ls": self._dashes[line.name]}

    def points(self, line: Line) -> dict:
        """Color, marker and marker size, as keyword arguments of `Axes.plot`."""
        return {"color": self.color(line), "marker": self._markers[line.name], "ms": 5}


def band(axes: Axes, xs: Sequence[float], seeds: Sequence[np.ndarray], color: str) -> None:
    """Fill the range between minimum and maximum over seeds at each x."""
    low, high = ([find(values) for values in seeds] for find in (np.min, np.max))
    axes.fill_between(xs, low, high, color=color, alpha=0.15, lw=0)
