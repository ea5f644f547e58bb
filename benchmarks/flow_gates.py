"""Figure of the gates: distribution of their values, and time constants."""

import textwrap
from collections.abc import Sequence

import numpy as np
from direct_labels import LABEL
from flow_report import Line
from flow_styles import Looks
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from rnn_jax.plotting import style


def gates(shown: Sequence[Line], looks: Looks, what: str) -> Figure | None:
    """Plot gate values and time constants at the longest T."""
    every, shown = shown, [line for line in shown if line.gates]
    if not shown:
        return None
    count = sum(len(line.gates) + 1 for line in shown)
    height = 1.4 + 0.2 * count
    figure = style.new_figure(height, f"Gates: {what}")
    whole = figure.get_figheight()
    figure.subplots_adjust(0.21, 1.0 / whole, top=(height - 0.1) / whole, wspace=0.12)
    left, right = figure.subplots(1, 2, sharey=True)
    row, T = 0, max(T for line in shown for T in line.lengths)
    for line in (line for line in shown if T in line.lengths):
        color = looks.color(line)
        left.annotate(
            line.name, (0, row), (-6, 0), textcoords="offset points", ha="right", color=color,
            weight="bold", **LABEL,
        )  # fmt: skip
        for gate in line.gates:
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
    left.set_xlabel(
        f"fraction of values below 0.1 (dark), above 0.9\n(pale), between (gray); ● mean; T = {T}"
    )
    right.set_xlabel("steps to 1/e: ◆ vanishing gradient\n● units, 10th to 90th percentile")
    look = {"color": style.MUTED, "size": 9, "ha": "left"}
    figure.text(0.015, 0.09 / whole, _not_shown(every, T), **look)
    return figure


def _not_shown(every, T):
    """A sentence about the gates and networks that the figure does not show."""
    text = "Not shown: gates with values outside 0 to 1"
    without = dict.fromkeys(line.name.partition(",")[0] for line in every if not line.gates)
    shorter = [line.name for line in every if line.gates and T not in line.lengths]
    if without:
        text += f"; cells without such gates: {', '.join(without)}"
    if shorter:
        text += f"; not measured at T = {T}: {', '.join(shorter)}"
    return textwrap.fill(f"{text}.", 110)


def _gate(axes, line, T, gate, row, color):
    mean, low, high = (
        line.mean(T, lambda r, part=part: r["gates"][gate][part])
        for part in ("mean", "low", "high")
    )
    axes.barh(row, 1, 0.7, color=style.LINE, alpha=0.5)  # Values between 0.1 and 0.9.
    axes.barh(row, low, 0.7, color=color)
    axes.barh(row, high, 0.7, left=1 - high, color=color, alpha=0.45)
    axes.plot(mean, row, "o", color=style.INK, mec="white", ms=6)
    name = f"{gate} (keep gate)" if gate == line.rows[0]["keep_gate"] else gate
    look = {"ha": "right", "color": style.MUTED}
    axes.annotate(name, (0, row), (-6, 0), textcoords="offset points", **look, **LABEL)


def _keeps(axes, line, T, row, color):
    """Plot the time constants of the keep gate, and that of a vanishing gradient."""
    low, middle, high = (
        line.mean(T, lambda r, i=i: r["time_constant"] and r["time_constant"][i]) for i in range(3)
    )
    axes.plot([low, high], [row, row], color=color, lw=3, alpha=0.45, solid_capstyle="round")
    axes.plot(middle, row, "o", color=color, ms=6)
    life = line.half_life(T)
    if life.slope < 0:
        axes.plot(1 / (-life.slope * np.log(10)), row, "D", color=style.INK, mec="white", ms=6)
