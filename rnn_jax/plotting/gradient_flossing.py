"""Table and figure of gradient flossing: solved tasks, and Lyapunov exponents."""

import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rnn_jax.plotting.style import COLORS, INK, LINE, MUTED, house_style, name_axes, new_figure
from rnn_jax.plotting.tables import markdown

METHODS = {
    "none": "no flossing",
    "before": "flossing before",
    "during": "flossing before and during",
    "penalty": "norm-preserving penalty",
}
"""The name of each method."""
TASKS = {"copy": "delayed copy", "xor": "delayed XOR"}
"""The name of each task."""
CHANCE = 0.5
"""Accuracy of a random guess."""


def describe(row: dict) -> str:
    """Describe a row in one line."""
    return (
        "{task}, delay {delay}, {method}, seed {seed}: {outcome} after {steps:,} steps, accuracy "
        "{accuracy:.1%}, {seconds:.0f} s"
    ).format(
        outcome="solved" if row["solved"] else "not solved", accuracy=1 - row["errors"][-1], **row
    )


def summary(rows: Sequence[dict]) -> list[str]:
    """Format a Markdown table: seeds that solved a task, and the steps that they took."""
    places = list(dict.fromkeys((row["task"], row["delay"]) for row in rows))
    return [
        f"Seeds that had at least {1 - rows[0]['criterion']:.0%} of new bits right within "
        f"{rows[0]['max_steps']:,} steps, and the median of their steps; if none did, the median "
        "accuracy.",
        "",
        *markdown(
            ("method", *(f"{task}, delay {delay}" for task, delay in places)),
            [
                (METHODS[method], *(_entry(_of(rows, method, *place)) for place in places))
                for method in _methods(rows)
            ],
        ),
    ]


def _methods(rows):
    return [method for method in METHODS if any(row["method"] == method for row in rows)]


def _of(rows, method, task, delay=None):
    return [
        row
        for row in rows
        if (row["method"], row["task"]) == (method, task) and delay in (None, row["delay"])
    ]


def _entry(rows):
    steps = [row["steps"] for row in rows if row["solved"]]
    if not rows:
        return ""
    if steps:
        return f"{len(steps)}/{len(rows)}, {statistics.median(steps):,.0f} steps"
    return f"0/{len(rows)}, {1 - statistics.median(row['errors'][-1] for row in rows):.1%}"


def flossing_figure(rows: Sequence[dict]) -> Figure:
    """Plot accuracy versus delay for each task, and Lyapunov exponents before and after flossing.

    A dot is a seed, a bar the median over seeds. The dashed line is chance level, the gray line the
    accuracy at which training stops. Exponents are shown for the longest delay, one line per seed;
    the dotted line marks the number of exponents that were flossed.
    """
    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    with house_style():
        figure = new_figure(3.6, "Learning over long delays, with and without gradient flossing")
        *panels, spectrum = figure.subplots(1, len(tasks) + 1)
        for axes, task in zip(panels, tasks, strict=True):
            _plot_accuracy(axes, rows, task)
        _plot_exponents(spectrum, rows)
        handles, labels = panels[0].get_legend_handles_labels()
        options = {"loc": "lower left", "ncols": len(labels), "frameon": False, "markerscale": 1.5}
        figure.legend(handles, labels, columnspacing=1.4, handletextpad=0.2, **options)
        figure.subplots_adjust(bottom=0.25)
    return figure


def _plot_accuracy(axes, rows, task):
    delays = sorted({row["delay"] for row in rows})
    methods = _methods(rows)
    for number, method in enumerate(methods):
        found = _of(rows, method, task)
        color = COLORS[list(METHODS).index(method)]
        # Side by side, since many points lie at chance or at the criterion.
        shift = 0.16 * (number - (len(methods) - 1) / 2)
        places = np.array([delays.index(row["delay"]) for row in found]) + shift
        accuracy = 1 - np.array([row["errors"][-1] for row in found])
        axes.plot(places, accuracy, "o", ms=4, mew=0, alpha=0.6, color=color, label=METHODS[method])
        for place in np.unique(places):
            median = np.median(accuracy[places == place])
            axes.plot([place - 0.07, place + 0.07], [median, median], color=color, lw=1.5)
    axes.axhline(CHANCE, color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=0)
    axes.axhline(1 - rows[0]["criterion"], color=LINE, lw=0.8, zorder=0)
    axes.set(xlim=(-0.5, len(delays) - 0.5), ylim=(0.45, 1.02))
    axes.set_xticks(range(len(delays)), delays)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    name_axes(axes, "delay [steps]", f"{TASKS[task]}, bits right")


def _plot_exponents(axes, rows):
    last = max(row["delay"] for row in rows)
    shown = [row for row in rows if row["delay"] == last and row["task"] == rows[0]["task"]]
    flossed = [row for row in shown if row["method"] in ("before", "during")]
    stages = (shown, 0, INK, "initial"), (flossed, 1, COLORS[1], "after flossing")
    axes.axhline(0, color=LINE, lw=0.8)
    for found, stage, color, name in stages:
        for number, row in enumerate(found):
            exponents = row["exponents"][stage]
            label = name if number == 0 else None
            axes.plot(1 + np.arange(len(exponents)), exponents, color=color, lw=0.8, label=label)
    axes.axvline(rows[0]["floss_exponents"], color=MUTED, lw=0.8, ls=":")
    axes.legend(loc="lower left")
    name_axes(axes, "number of the exponent", "Lyapunov exponent [nats/step]")
