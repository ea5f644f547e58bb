"""Figures and a table of agents in T-mazes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rnn_jax.plotting.style import COLORS, LINE, MUTED, house_style, name_axes, new_figure
from rnn_jax.plotting.tables import markdown
from rnn_jax.plotting.training import plot_curve, regular_rows

CHANCE = 0.5
"""Success rate of an agent that does not remember the sign."""


def reward_figure(rows: Sequence[Mapping], title: str) -> Figure:
    """Plot the mean reward per step and the entropy of the policy over training."""
    end, rows = rows[-1]["examples"], regular_rows(rows)
    with house_style():
        figure = new_figure(3.2, title)
        names = ("batch_reward", "reward per step"), ("entropy", "entropy of the policy [nats]")
        for axes, (key, name) in zip(figure.subplots(1, 2), names, strict=True):
            examples, values = np.array([[row["examples"], row[key]] for row in rows], float).T
            plot_curve(axes, examples, values, name, end)
            axes.set_xlabel("windows seen")
    return figure


def success_figure(rows: Sequence[Mapping], title: str) -> Figure:
    """Plot the success rate versus the length of the corridor, with a line for each cell.

    A line is the mean over seeds, its band the range. There is a panel for training in corridors of
    one length and one for training in corridors of varied lengths, where there are such rows.

    Args:
      rows: summaries of `t_maze.py`, with the same `corridor`.
      title: the title.
    """
    panels = [[row for row in rows if row["varied"] == varied] for varied in (False, True)]
    panels = [found for found in panels if found]
    with house_style():
        figure = new_figure(3.4, title)
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, found in zip(grid, panels, strict=True):
            longest, varied = found[0]["corridor"], found[0]["varied"]
            for color, (cell, rates) in zip(COLORS, _by_cell(found).items(), strict=False):
                lengths, bounds = 1 + np.arange(rates.shape[1]), (rates.min(0), rates.max(0))
                axes.plot(lengths, rates.mean(0), color=color, label=cell.upper())
                axes.fill_between(lengths, *bounds, color=color, alpha=0.2, lw=0)
            axes.axhline(CHANCE, color=MUTED, ls=":", label="no memory")
            axes.axvspan(
                1 if varied else longest - 0.5, longest + 0.5, color=LINE, label="training"
            )
            axes.set(xlim=(1, rates.shape[1]), ylim=(-0.02, 1.02))
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            trained = f"1 to {longest}" if varied else f"{longest}"
            name_axes(axes, "steps to the junction", f"right turns, trained with {trained} steps")
        axes.legend(loc="lower right")
    return figure


def summary(rows: Sequence[Mapping], lengths: Sequence[int] = (10, 20, 30, 45, 60)) -> list[str]:
    """Format a Markdown table of success rates, with a row for each cell and kind of training.

    An entry is the mean over seeds and, in parentheses, their range.

    Args:
      rows: summaries of `t_maze.py`.
      lengths: the corridor lengths that have a column.
    """
    lines = []
    for varied in (False, True):
        for cell, rates in _by_cell([row for row in rows if row["varied"] == varied]).items():
            shown = rates[:, np.array(lengths) - 1].T
            entries = [f"{n.mean():.0%} ({n.min():.0%} to {n.max():.0%})" for n in shown]
            lines.append((cell, "1 to N" if varied else "N", str(len(rates)), *entries))
    columns = "cell", "training", "seeds", *(f"{length} steps" for length in lengths)
    return markdown(columns, lines)


def _by_cell(rows):
    """Success rates by cell, [seeds, 2 * corridor]."""
    cells = {}
    for row in rows:
        cells.setdefault(row["cell"], []).append(row["rates"])
    return {cell: np.array(rates) for cell, rates in cells.items()}
