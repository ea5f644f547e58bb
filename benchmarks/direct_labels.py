"""Labels at the ends of lines, instead of a legend."""

from collections.abc import Sequence

from matplotlib.axes import Axes

LABEL = {"size": 9, "va": "center", "annotation_clip": False}
SPACING = 12
"""Minimum distance between the centers of two labels, in points."""


def label_ends(axes: Axes, ends: Sequence[tuple[str, str, float]]) -> None:
    """Write labels to the right of line ends, given as (name, color, height), without overlap.

    Heights are in data coordinates; the axis limits must be final.
    """
    if not ends:
        return
    points = 72 * axes.get_position().height * axes.figure.get_figheight()
    ends = sorted(ends, key=lambda end: end[2])
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [to_axes.transform((axes.get_xlim()[0], height))[1] for _, _, height in ends]
    places = _apart(heights, SPACING / points)
    for (name, color, _), height, place in zip(ends, heights, places, strict=True):
        line = {"arrowstyle": "-", "color": color, "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
        look = {"color": color, "arrowprops": line | {"relpos": (0, 0.5)}}
        look |= {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(name, (1, height), (13, (place - height) * points), **look, **LABEL)


def _apart(heights, gap):
    """Move ascending heights as little as possible, so that they are at least `gap` apart."""
    blocks = []
    for k, height in enumerate(heights):
        blocks.append((height - k * gap, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (upper, many), (lower, more) = blocks.pop(), blocks.pop()
            blocks.append(((upper * many + lower * more) / (many + more), many + more))
    moved = [base for base, count in blocks for _ in range(count)]
    most = 1 - gap * (len(heights) - 1)
    return [min(max(base, 0), most) + k * gap for k, base in enumerate(moved)]
