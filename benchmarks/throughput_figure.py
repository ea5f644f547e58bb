"""Figure of the throughput benchmark: tokens per second versus T, or ratios at several sizes."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, NullLocator
from report import TORCH, groups, is_ours, label

from rnn_jax.plotting import style

ONE, ALL = "rnn_jax, 1 device", "rnn_jax"
COLORS = {
    ALL: style.BLUE,
    ONE: style.SKY,
    TORCH: style.VERMILLION,
    "Flax linen": style.GREEN,
    "Flax NNX": "#66B39C",
    "Haiku": style.PURPLE,
    "Equinox": "#D3A3D3",
    "Keras on JAX": style.MUTED,
    "jax.experimental.rnn": style.INK,
}
WIDTHS = {ALL: 3}
"""Line widths in points, 1.5 by default."""
DRIVER_COLORS = (style.INK, style.BLUE, style.SKY, *style.COLORS[1:], "#66B39C", "#D3A3D3")
"""Colors of the drivers of rnn_jax, in rows without other libraries."""
FEW = 6
"""Maximum number of points whose sizes all fit below the bars."""


def draw(rows: Sequence[Mapping], path: Path) -> None:
    """Plot lines versus T if the other sizes are fixed, otherwise bars; a panel per cell and pass.

    Each library is shown with its faster number of devices, rnn_jax also with one device. For rows
    without other libraries, the drivers of rnn_jax are compared instead.
    """
    drivers = list(dict.fromkeys(label(row) for row in rows))
    alone = all(is_ours(row) for row in rows)
    colors = COLORS
    if alone:
        colors = dict(zip(drivers, itertools.cycle(DRIVER_COLORS), strict=False))
    sizes = {tuple(row[letter] for letter in "BDH") for row in rows}
    lines = len(sizes) == 1 and len({row["T"] for row in rows}) > 2
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    passes = list(dict.fromkeys(row["pass"] for row in rows))
    cores = f"{rows[0]['cores']} core{'s' * (rows[0]['cores'] > 1)}"
    title = f"Throughput on {cores}, jax {rows[0]['jax']}"
    if lines:
        title = "{title}, B={B} D={D} H={H}".format(title=title, **rows[0])
    with style.house_style():
        figure = style.new_figure(3.0 * len(cells) + 0.7, title)
        bottom, height = 1.15 / figure.get_figheight(), 3.0
        figure.subplots_adjust(bottom=bottom, wspace=0.3, hspace=1.05 / (height - 1.05))
        axes = figure.subplots(len(cells), len(passes), squeeze=False)
        names = []
        for i, cell in enumerate(cells):
            for k, name in enumerate(passes):
                chosen = [row for row in rows if (row["cell"], row["pass"]) == (cell, name)]
                found = _drivers(chosen) if alone else _libraries(chosen)
                names += found
                (_lines if lines else _bars)(axes[i, k], found, colors)
                x = "time steps T" if lines else bar_title(_points(rows))
                y = "tokens/s" if lines else f"speed relative to {next(iter(colors))}"
                style.name_axes(
                    axes[i, k], x if i == len(cells) - 1 else "", f"{cell}, {name}: {y}"
                )
        known = [name for name in colors if name in names]
        handles = [Line2D([], [], color=colors[name], lw=WIDTHS.get(name, 1.5)) for name in known]
        figure.legend(handles, known, loc="lower center", ncols=4, frameon=False)
        style.save(figure, path)


def _drivers(rows):
    """Rows by driver and number of devices."""
    found = {}
    for row in rows:
        found.setdefault(label(row), []).append(row)
    return found


def _libraries(rows):
    """Rows by library, one for each point: those with the faster number of devices.

    Of the drivers of rnn_jax, only the default one is used, for points that have a default.
    """
    found = {}
    for group in groups(rows):
        default = [row for row in group if is_ours(row) and row["default_driver"]]
        ours = default or [row for row in group if is_ours(row)]
        one = [row for row in ours if row["devices"] == 1]
        by_name = {ALL: ours, ONE: one if len(ours) > len(one) else []}
        for row in group:
            if not is_ours(row):
                by_name.setdefault(row["implementation"], []).append(row)
        for name, of_library in by_name.items():
            if of_library:
                fastest = min(of_library, key=lambda row: row["median_ms"])
                found.setdefault(name, []).append(fastest)
    return found


def _lines(axes: Axes, libraries, colors):
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for name in sorted(libraries, key=lambda name: name == ALL):
        rows = sorted(libraries[name], key=lambda row: row["T"])
        steps = [row["T"] for row in rows]
        rates = [row["tokens_per_second"] for row in rows]
        axes.plot(steps, rates, color=colors[name], lw=WIDTHS.get(name, 1.5), marker=".")
        slow, fast = (
            [1e3 * row["T"] * row["B"] / row["quartiles_ms"][k] for row in rows] for k in (1, 0)
        )
        axes.fill_between(steps, slow, fast, color=colors[name], alpha=0.2, lw=0)
    lengths = sorted({row["T"] for rows in libraries.values() for row in rows})
    axes.set_xticks(lengths, [f"{T:,}" for T in lengths], rotation=30)
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set(minor_locator=NullLocator(), major_formatter=EngFormatter(sep=""))
    axes.xaxis.set(minor_locator=NullLocator(), minor_formatter=NullFormatter())
    axes.grid(axis="y")


def _bars(axes: Axes, libraries, colors):
    first = libraries[next(iter(colors))]
    points = _points(first)
    base = {point: row["median_ms"] for point, row in zip(points, first, strict=True)}
    known = [name for name in colors if name in libraries]
    width = 0.8 / len(known)
    for k, name in enumerate(known):
        for row in libraries[name]:
            point = tuple(row[letter] for letter in "TBDH")
            place = points.index(point) + (k - (len(known) - 1) / 2) * width
            axes.bar(place, base[point] / row["median_ms"], 0.9 * width, color=colors[name])
    axes.axhline(1, color=style.MUTED, lw=0.8, zorder=0)
    rotation = 0 if len(points) <= FEW else 90
    axes.set_xticks(range(len(points)), bar_names(points), fontsize=7, rotation=rotation)


def _points(rows):
    return list(dict.fromkeys(tuple(row[letter] for letter in "TBDH") for row in rows))


def _usual(points):
    return [statistics.mode(sizes) for sizes in zip(*points, strict=True)]


def bar_title(points: Sequence[tuple]) -> str:
    """The label of the axis of `bar_names`."""
    if len(points) <= FEW:
        return "T, B, D, H"
    return "base: " + ", ".join(f"{k}={n}" for k, n in zip("TBDH", _usual(points), strict=True))


def bar_names(points: Sequence[tuple]) -> list[str]:
    """All sizes for a few points; for many, only those that differ from the most common ones."""
    if len(points) <= FEW:
        return ["{}, {},\n{}, {}".format(*point) for point in points]
    usual_sizes = _usual(points)
    named = [zip("TBDH", point, usual_sizes, strict=True) for point in points]
    return [", ".join(f"{k}={n}" for k, n, usual in each if n != usual) or "base" for each in named]
