"""Tables and a figure of the memory tasks: cells, lengths and the steps until they are solved."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnn_jax.plotting.style import BLUE, INK, LINE, MARGIN, MUTED, WIDTH, house_style, new_figure
from rnn_jax.plotting.tables import markdown

TASKS = {
    "adding": ("Adding problem", "mean squared error", "constant output: 0.167"),
    "copy": ("Copy task", "fraction of wrong symbols", "chance level: 0.875"),
}
"""Title, error measure and baseline error (without memory) of each task."""
SHADES = LinearSegmentedColormap.from_list("solved", ["white", BLUE])
LEFT, GAP, ROW, WIDEST, HEAD, FOOT = 1.25, 0.3, 0.5, 1.4, 0.98, 0.55


class Outcome(NamedTuple):
    """Results of all seeds of one cell at one length.

    Attributes:
      solved, seeds: the number of seeds that solved the task, and of all seeds.
      steps: median number of training steps of the seeds that solved the task, or None.
      error: median final error of the other seeds, or None.
    """

    solved: int
    seeds: int
    steps: float | None
    error: float | None


Table = dict[tuple[str, int], Outcome]
"""Outcomes of one task by cell and length T."""


def outcomes(rows: Sequence[dict]) -> dict[str, Table]:
    """Group rows by task, cell and length. Tasks and cells keep the order of the rows."""
    groups = {}
    for row in rows:
        groups.setdefault(row["task"], {}).setdefault((row["cell"], row["T"]), []).append(row)
    return {
        task: {point: _outcome(group) for point, group in table.items()}
        for task, table in groups.items()
    }


def _outcome(rows):
    steps = [row["steps"] for row in rows if row["solved"]]
    errors = [row["errors"][-1] for row in rows if not row["solved"]]
    medians = (statistics.median(found) if found else None for found in (steps, errors))
    return Outcome(len(steps), len(rows), *medians)


def _cells(table):
    return list(dict.fromkeys(cell for cell, _ in table))


def _lengths(table):
    return sorted({T for _, T in table})


def describe(row: dict) -> str:
    """Describe a row in one line."""
    return (
        "{task} T={T}, {cell}, seed {seed}: {outcome} after {steps:,} steps, error {error:.4f}, "
        "{seconds:.0f} s"
    ).format(outcome="solved" if row["solved"] else "not solved", error=row["errors"][-1], **row)


def summary(rows: Sequence[dict]) -> list[str]:
    """Format a Markdown table for each task: the fraction of seeds that solved it, and steps."""
    lines = []
    for task, table in outcomes(rows).items():
        name, error, baseline = TASKS[task]
        criterion, max_steps = rows[0]["criterion"], rows[0]["max_steps"]
        lengths = _lengths(table)
        lines += [
            f"{name}. Solved: {error} below {criterion:g} on new examples ({baseline}) within "
            f"{max_steps:,} steps. Entries: seeds that solved it of all seeds, and the median of "
            "their steps; if none did, the median of the final errors.",
            "",
            *markdown(
                ("cell", *(f"T = {T}" for T in lengths)),
                [
                    (cell, *(_words(table.get((cell, T))) for T in lengths))
                    for cell in _cells(table)
                ],
            ),
            "",
        ]
    return lines


def _words(outcome):
    if outcome is None:
        return ""
    end = f"{outcome.steps:,.0f} steps" if outcome.solved else f"error {outcome.error:.3f}"
    return f"{outcome.solved}/{outcome.seeds}, {end}"


def success_figure(rows: Sequence[dict]) -> Figure:
    """Plot a tile for each cell and length; darker tiles mean that more seeds solved the task."""
    tables = outcomes(rows)
    cells = _cells([point for table in tables.values() for point in table])
    columns = sum(len(_lengths(table)) for table in tables.values())
    width = min(WIDEST, (WIDTH - MARGIN - LEFT - GAP * (len(tables) - 1)) / columns)
    height, x = HEAD + ROW * len(cells) + FOOT, LEFT
    with house_style():
        figure = new_figure(height, "Training steps until a memory task is solved")
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, figure.get_figheight()))
        page.axis("off")
        for number, cell in enumerate(cells):
            y = height - HEAD - ROW * (number + 0.5)
            page.text(LEFT - 0.12, y, cell, ha="right", va="center")
        for task, table in tables.items():
            name, error, baseline = TASKS[task]
            page.text(x, height - 0.2, name, weight="bold")
            note = f"{error},\n{baseline}"
            page.text(x, height - 0.57, note, size=8.5, color=MUTED, linespacing=1.4)
            for T in _lengths(table):
                page.text(x + width / 2, height - HEAD + 0.1, f"T = {T}", size=9, ha="center")
                for number, cell in enumerate(cells):
                    corner = x, height - HEAD - ROW * (number + 1)
                    _draw_tile(page, corner, width, table.get((cell, T)))
                x += width
            x += GAP
        note = (
            f"Blue: steps (at most {rows[0]['max_steps']:,}) until the error on new examples was "
            f"below {rows[0]['criterion']:g}; darker: solved by more seeds.\nWhite: not solved; "
            "final error. With several seeds, numbers are medians."
        )
        page.text(MARGIN, 0.14, note, size=8.5, color=MUTED, linespacing=1.4)
    return figure


def _draw_tile(page: Axes, corner, width, outcome) -> None:
    if outcome is None:
        return
    part, (x, y) = outcome.solved / outcome.seeds, corner
    tile = Rectangle(corner, width, ROW, fc=SHADES(part), ec=LINE, lw=1)
    page.add_patch(tile)
    color = "white" if part > 0.5 else INK if part else MUTED
    value = f"{outcome.steps:,.0f}" if outcome.solved else f"{outcome.error:.3f}"
    several = outcome.seeds > 1
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": color}
    weight = "bold" if outcome.solved else "normal"
    page.text(x + width / 2, y + ROW * (0.64 if several else 0.5), value, weight=weight, **look)
    if several:
        seeds = f"{outcome.solved} of {outcome.seeds}"
        page.text(x + width / 2, y + ROW * 0.27, seeds, size=8.5, **look)
