"""How the lines of a figure look, and how their ends are named."""

from collections.abc import Sequence

from flow_report import Line
from matplotlib.axes import Axes

from rnn_jax import style

DASHES = ("-", (0, (5, 1.5)), (0, (7, 1.5, 1.5, 1.5)), (0, (2.5, 1)), (0, (6, 1, 1, 1, 1, 1)))
SPACING = 12
"""Points between two names, from the middle of one to that of the next."""
MARKERS = ("o", "s", "^", "D", "v")
LABEL = {"size": 9, "va": "center", "annotation_clip": False}


class Looks:
    """How each line looks: a colour for its cell, dashes for how that was initialised."""

    def __init__(self, drawn: Sequence[Line]):
        cells = list(dict.fromkeys(line.cell for line in drawn))
        own = {cell: [line.name for line in drawn if line.cell == cell] for cell in cells}
        palette = {"rnn": style.VERMILLION, "lstm": style.BLUE, "gru": style.GREEN}
        spare = [style.PURPLE, style.INK, style.MUTED]
        others = [cell for cell in cells if cell not in palette]
        palette |= {cell: spare[i % len(spare)] for i, cell in enumerate(others)}
        self._palette = palette
        places = {line.name: own[line.cell].index(line.name) % len(DASHES) for line in drawn}
        self._dashes = {name: DASHES[place] for name, place in places.items()}
        self._markers = {name: MARKERS[place] for name, place in places.items()}

    def color(self, line: Line) -> str:
        """The colour of its cell."""
        return self._palette[line.cell]

    def of(self, line: Line) -> dict:
        """Colour and dashes, as `Axes.plot` takes them."""
        return {"color": self.color(line), "ls": self._dashes[line.name]}

    def points(self, line: Line) -> dict:
        """Colour, marker and its size."""
        return {"color": self.color(line), "marker": self._markers[line.name], "ms": 5}


def label_ends(axes: Axes, ends: Sequence[tuple[str, str, float]]) -> None:
    """Names right of the ends of lines, given as (name, colour, height), apart from each other."""
    if not ends:
        return
    low, high = axes.get_ylim()
    points = 72 * axes.get_position().height * axes.figure.get_figheight()
    ends = sorted(ends, key=lambda end: end[2])
    heights = [(height - low) / (high - low) for _, _, height in ends]
    places = _apart(heights, SPACING / points)
    for (name, color, _), height, place in zip(ends, heights, places, strict=True):
        line = {"arrowstyle": "-", "color": color, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
        look = {"color": color, "arrowprops": line | {"relpos": (0, 0.5)}}
        look |= {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(name, (1, height), (13, (place - height) * points), **look, **LABEL)


def _apart(heights, gap):
    """The ascending heights moved, as little as can be, until each is `gap` above the one below."""
    blocks = []
    for k, height in enumerate(heights):
        blocks.append((height - k * gap, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (upper, many), (lower, more) = blocks.pop(), blocks.pop()
            blocks.append(((upper * many + lower * more) / (many + more), many + more))
    moved = [base for base, count in blocks for _ in range(count)]
    most = 1 - gap * (len(heights) - 1)
    return [min(max(base, 0), most) + k * gap for k, base in enumerate(moved)]
