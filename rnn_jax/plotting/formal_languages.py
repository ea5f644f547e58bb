"""Table and figure of formal languages: accuracy beyond the lengths of the training strings."""

import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rnn_jax.plotting.style import (
    COLORS,
    INK,
    LINE,
    MUTED,
    SKY,
    house_style,
    name_axes,
    new_figure,
)
from rnn_jax.plotting.tables import markdown

TASKS = {
    "parity": ("parity", 2),
    "even_pairs": ("even pairs", 2),
    "cycle": ("cycle navigation", 5),
    "arithmetic": ("modular arithmetic", 5),
    "dyck": ("Dyck-1", 2),
    "reverse": ("reverse", 2),
    "duplicate": ("duplicate", 2),
}
"""Title and number of classes of each task."""
PUBLISHED = {
    "RNN-256, Delétang et al.": ("100.0", "100.0", "100.0", "100.0", "-", "62.0", "50.3"),
    "LSTM-256, Delétang et al.": ("100.0", "100.0", "100.0", "100.0", "-", "60.9", "57.6"),
}
"""Accuracies in the order of TASKS, means over lengths 41 to 500, best of 10 seeds and three
learning rates after 10^6 steps. Delétang et al. (2023), "Neural networks and the Chomsky
hierarchy", table 2."""
CHANCE = "chance"
HUES = (*COLORS, INK, SKY)


def chance(task: str) -> float:
    """The accuracy of a random guess."""
    return 1 / TASKS[task][1]


def beyond(row: dict) -> float:
    """Mean accuracy of a row over all test lengths beyond those of training."""
    width = row["test_longest"] // len(row["accuracies"])
    return statistics.mean(row["accuracies"][row["longest"] // width :])


def describe(row: dict) -> str:
    """Describe a row in one line."""
    return (
        "{task}, {cell}, seed {seed}: accuracy {train_accuracy:.3f} in training, {beyond:.3f} on "
        "lengths {longest} to {test_longest}, {seconds:.0f} s"
    ).format(**row | {"beyond": beyond(row), "longest": row["longest"] + 1})


def summary(rows: Sequence[dict]) -> list[str]:
    """Format a Markdown table of accuracies, with a column per task and a row per cell."""
    groups, first = _groups(rows), rows[0]
    tasks = [task for task in TASKS if any(task == name for name, _ in groups)]
    names = list(TASKS)
    lines = [
        (name, *(published[names.index(task)] for task in tasks))
        for name, published in PUBLISHED.items()
    ]
    return [
        f"Accuracy in percent, a mean over lengths {first['longest'] + 1} to "
        f"{first['test_longest']}; mean ± standard deviation over seeds. Training strings have up "
        f"to {first['longest']} symbols.",
        "",
        *markdown(
            ("cell", *(TASKS[task][0] for task in tasks)),
            [
                (CHANCE, *(f"{chance(task):.0%}".rstrip("%") for task in tasks)),
                *(
                    (f"`{cell}`", *(_spread(groups.get((task, cell), ())) for task in tasks))
                    for cell in dict.fromkeys(cell for _, cell in groups)
                ),
                *lines,
            ],
            right=True,
        ),
    ]


def _groups(rows):
    groups = {}
    for row in rows:
        groups.setdefault((row["task"], row["cell"]), []).append(row)
    return groups


def _spread(rows):
    values = [100 * beyond(row) for row in rows]
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def length_figure(rows: Sequence[dict]) -> Figure:
    """Plot accuracy versus string length, with a panel for each task and a line for each cell.

    Lines are means over seeds; bands reach from the lowest to the highest seed.
    """
    groups, first = _groups(rows), rows[0]
    tasks = [task for task in TASKS if any(task == name for name, _ in groups)]
    cells = list(dict.fromkeys(cell for _, cell in groups))
    columns = min(4, len(tasks) + 1)
    lines = -(-(len(tasks) + 1) // columns)
    width = first["test_longest"] / len(first["accuracies"])
    lengths = width * (np.arange(len(first["accuracies"])) + 0.5)
    with house_style():
        figure = new_figure(0.7 + 1.9 * lines, "Accuracy on strings longer than those of training")
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
        figure.subplots_adjust(hspace=0.62, wspace=0.12)
        for task, axes in zip(tasks, panels, strict=False):
            axes.axvspan(0, first["longest"], color=LINE, lw=0)
            axes.axhline(chance(task), color=MUTED, lw=0.8, ls=(0, (4, 3)))
            for number, cell in enumerate(cells):
                found = groups.get((task, cell))
                if found:
                    values = np.array([row["accuracies"] for row in found])
                    hue = HUES[number % len(HUES)]
                    axes.plot(lengths, values.mean(0), color=hue, lw=1.5, label=cell)
                    axes.fill_between(
                        lengths, values.min(0), values.max(0), color=hue, alpha=0.15, lw=0
                    )
            axes.set(xlim=(0, first["test_longest"]), ylim=(0, 1.04))
            name_axes(axes, "", TASKS[task][0])
            axes.set_xticks([first["longest"], first["test_longest"]])
        for axes in panels[max(0, len(tasks) - columns) : len(tasks)]:
            axes.set_xlabel("symbols")
        for axes in panels[len(tasks) :]:
            axes.axis("off")
        handles = [
            panels[0].plot([], [], color=HUES[n % len(HUES)], label=cell)[0]
            for n, cell in enumerate(cells)
        ]
        handles.append(panels[0].axhline(np.nan, color=MUTED, lw=0.8, ls=(0, (4, 3))))
        labels = [*cells, CHANCE]
        panels[len(tasks)].legend(handles, labels, loc="center left", frameon=False)
    return figure
