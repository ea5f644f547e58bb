"""What the rows of memory_tasks.py say: which cell solves which length, as tables and a figure."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnn_jax.plotting.style import BLUE, LINE, MARGIN, MUTED, WIDTH, house_style, new_figure

TASKS = {
    "adding": ("Adding problem", "mean square error", "a constant guess: 0.167"),
    "copy": ("Copy task", "part of the symbols wrong", "a guess: 0.875"),
}
"""Of each task its name, what its error is, and how large that is where nothing is remembered."""
SHADES = LinearSegmentedColormap.from_list("solved", ["white", BLUE])
LEFT, GAP, ROW, WIDEST, HEAD, FOOT = 1.25, 0.3, 0.5, 1.4, 0.98, 0.55


class Outcome(NamedTuple):
    """What became of the seeds of one cell at one length.

    Attributes:
      solved, seeds: how many solved the task, of how many.
      steps: the median of the training steps of those that solved it, or None.
      error: the median of the last errors of those that did not, or None.
    """

    solved: int
    seeds: int
    steps: float | None
    error: float | None


Table = dict[tuple[str, int], Outcome]
"""The outcomes of one task by cell and length T."""


def outcomes(rows: Sequence[dict]) -> dict[str, Table]:
    """The table of each task, tasks and cells in the order of the rows."""
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
    """What a row says."""
    return (
        "{task} T={T}, {cell}, seed {seed}: {outcome} after {steps:,} steps, error {error:.4f}, "
        "{seconds:.0f} s"
    ).format(outcome="solved" if row["solved"] else "not solved", error=row["errors"][-1], **row)


def summary(rows: Sequence[dict]) -> list[str]:
    """A table in Markdown for each task: seeds that solved it of those that tried, and steps."""
    lines = []
    for task, table in outcomes(rows).items():
        name, error, chance = TASKS[task]
        criterion, most = rows[0]["criterion"], rows[0]["max_steps"]
        lengths = _lengths(table)
        lines += [
            f"{name}, solved: {error} below {criterion:g} on new examples ({chance}) within "
            f"{most:,} steps. Seeds that solved it, the median of their steps; else of the errors:",
            "",
            f"| cell | {' | '.join(f'T = {T}' for T in lengths)} |",
            f"|---|{'---|' * len(lengths)}",
            *(
                f"| {cell} | {' | '.join(_words(table.get((cell, T))) for T in lengths)} |"
                for cell in _cells(table)
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
    """A tile for each cell and length, the darker the more seeds solved the task."""
    tables = outcomes(rows)
    cells = _cells([point for table in tables.values() for point in table])
    columns = sum(len(_lengths(table)) for table in tables.values())
    width = min(WIDEST, (WIDTH - MARGIN - LEFT - GAP * (len(tables) - 1)) / columns)
    height, x = HEAD + ROW * len(cells) + FOOT, LEFT
    with house_style():
        figure = new_figure(height, "What a recurrent cell can learn to remember")
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, figure.get_figheight()))
        page.axis("off")
        for number, cell in enumerate(cells):
            y = height - HEAD - ROW * (number + 0.5)
            page.text(LEFT - 0.12, y, cell, ha="right", va="center")
        for task, table in tables.items():
            name, error, chance = TASKS[task]
            page.text(x, height - 0.2, name, weight="bold")
            note = f"{error},\n{chance}"
            page.text(x, height - 0.57, note, size=8.5, color=MUTED, linespacing=1.4)
            for T in _lengths(table):
                page.text(x + width / 2, height - HEAD + 0.1, f"T = {T}", size=9, ha="center")
                for number, cell in enumerate(cells):
                    corner = x, height - HEAD - ROW * (number + 1)
                    _draw_tile(page, corner, width, table.get((cell, T)))
                x += width
            x += GAP
        note = (
            f"Blue: training steps, of at most {rows[0]['max_steps']:,}, until the error on new "
            f"examples was below {rows[0]['criterion']:g}.\nWhite: solved by no seed; the error at "
            "the end. Of several seeds, medians."
        )
        page.text(MARGIN, 0.14, note, size=8.5, color=MUTED, linespacing=1.4)
    return figure


def _draw_tile(page: Axes, corner, width, outcome) -> None:
    if outcome is None:
        return
    part, (x, y) = outcome.solved / outcome.seeds, corner
    tile = Rectangle(corner, width, ROW, fc=SHADES(part), ec=LINE, lw=1)
    page.add_patch(tile)
    color = "white" if part > 0.5 else MUTED
    said = f"{outcome.steps:,.0f}" if outcome.solved else f"{outcome.error:.3f}"
    several = outcome.seeds > 1
    look = {"ha": "center", "va": "center", "color": color}
    weight = "bold" if outcome.solved else "normal"
    page.text(x + width / 2, y + ROW * (0.64 if several else 0.5), said, weight=weight, **look)
    if several:
        seeds = f"{outcome.solved} of {outcome.seeds}"
        page.text(x + width / 2, y + ROW * 0.27, seeds, size=8.5, **look)
