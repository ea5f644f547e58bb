"""The figure of the gates: how open they are, and for how long they keep the past."""

from collections.abc import Sequence

import numpy as np
from flow_looks import Looks
from flow_report import Line
from line_ends import LABEL
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from rnn_jax.figures import style


def gates(drawn: Sequence[Line], looks: Looks, what: str) -> Figure | None:
    """How open the gates are, and for how long they keep the past, at the longest T."""
    drawn = [line for line in drawn if line.rows[0]["gates"]]
    if not drawn:
        return None
    count = sum(len(line.rows[0]["gates"]) + 1 for line in drawn)
    height = 1.1 + 0.2 * count
    figure = style.new_figure(height, f"Gates: {what}")
    whole = figure.get_figheight()
    figure.subplots_adjust(0.21, 0.7 / whole, top=(height - 0.1) / whole, wspace=0.12)
    left, right = figure.subplots(1, 2, sharey=True)
    row, T = 0, max(T for line in drawn for T in line.lengths)
    for line in (line for line in drawn if T in line.lengths):
        color = looks.color(line)
        left.annotate(
            line.name, (0, row), (-6, 0), textcoords="offset points", ha="right", color=color,
            weight="bold", **LABEL,
        )  # fmt: skip
        for gate in line.rows[0]["gates"]:
            row += 1
            _gate(left, line, T, gate, row, color)
            if gate == line.rows[0]["keep_gate"]:
                _keeps(right, line, T, row, color)
        row += 1
    left.set(xlim=(0, 1), ylim=(row - 0.4, -0.6), yticks=[])
    left.spines.left.set_visible(False)
    right.spines.left.set_visible(False)
    right.tick_params(left=False)
    right.set_xscale("log")
    right.grid(axis="x")
    right.xaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)),
        minor_locator=NullLocator(),
        major_formatter="{x:g}",
    )
    left.set_xlabel(f"share of values below 0.1 (dark), above 0.9 (pale)\n● mean value; T = {T}")
    right.set_xlabel("steps to 1/e: ◆ the gradient\n● what a unit keeps, 10 to 90 % of units")
    return figure


def _gate(axes, line, T, gate, row, color):
    mean, low, high = (
        line.mean(T, lambda r, part=part: r["gates"][gate][part])
        for part in ("mean", "low", "high")
    )
    axes.barh(row, 1, 0.7, color=style.LINE, alpha=0.5)
    axes.barh(row, low, 0.7, color=color)
    axes.barh(row, high, 0.7, left=1 - high, color=color, alpha=0.45)
    axes.plot(mean, row, "o", color=style.INK, mec="white", ms=6)
    name = f"{gate}, keeps" if gate == line.rows[0]["keep_gate"] else gate
    look = {"ha": "right", "color": style.MUTED}
    axes.annotate(name, (0, row), (-6, 0), textcoords="offset points", **look, **LABEL)


def _keeps(axes, line, T, row, color):
    """The time constants of the keep gate, and the gradient's beside them where it vanishes."""
    low, middle, high = (
        line.mean(T, lambda r, i=i: r["time_constant"] and r["time_constant"][i]) for i in range(3)
    )
    axes.plot([low, high], [row, row], color=color, lw=3, alpha=0.45, solid_capstyle="round")
    axes.plot(middle, row, "o", color=color, ms=6)
    life = line.half_life(T)
    if life.slope < 0:
        axes.plot(1 / (-life.slope * np.log(10)), row, "D", color=style.INK, mec="white", ms=6)
