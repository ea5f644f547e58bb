"""Tables and figures of online gradients: learning on a stream, and working memory."""

import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rnn_jax.plotting.style import COLORS, INK, MUTED, house_style, name_axes, new_figure
from rnn_jax.plotting.tables import markdown

NAMES = {"bptt": "BPTT", "uoro": "UORO", "rflo": "RFLO", "snap1": "SnAp-1", "rtrl": "RTRL"}
LOOKS = {
    name: {"color": color, "lw": width, "label": NAMES[name]}
    for name, color, width in zip(NAMES, (INK, *COLORS), (2.2, 2.2, 3.8, 2.5, 1.2), strict=True)
}
"""RFLO, SnAp-1 and RTRL coincide for some cells; these widths keep all three visible."""
CHANCE = 1.0
"""Mean squared error of a constant output of 0."""


def describe(row: dict) -> str:
    """Describe a row of either file in one line."""
    name = f"{row['cell']}, {NAMES[row['estimator']]}"
    if "T" in row:
        return f"{name}, T = {row['T']:,}: {_size(row['bytes'])} of working memory"
    return f"{name}, seed {row['seed']}: error {_final(row):.3f}, {row['seconds']:.0f} s"


def _final(row):
    """Mean error of the last tenth of the stream, or of its last piece."""
    return statistics.mean(row["losses"][-max(1, len(row["losses"]) // 10) :])


def _size(number):
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} GiB"


def _groups(rows, *entries):
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[entry] for entry in entries), []).append(row)
    return groups


def _names(rows, entry):
    return list(dict.fromkeys(row[entry] for row in rows))


def summary(rows: Sequence[dict], sizes: Sequence[dict] = ()) -> list[str]:
    """Format Markdown tables of final errors, and of working memory if it was measured."""
    groups, estimators = _groups(rows, "cell", "estimator"), _names(rows, "estimator")
    first = rows[0]
    return [
        f"Mean squared error in the last tenth of {first['steps']:,} steps, for bits of "
        f"{first['delay']} steps ago; mean ± standard deviation over seeds. Without memory: 1. "
        f"BPTT is truncated to {first['window']} steps.",
        "",
        *markdown(
            ("cell", *(NAMES[name] for name in estimators)),
            [
                (f"`{cell}`", *(_spread(groups.get((cell, name), ())) for name in estimators))
                for cell in _names(rows, "cell")
            ],
            right=True,
        ),
        *_memory(sizes),
    ]


def _spread(rows):
    values = [_final(row) for row in rows]
    if len(values) < 2:
        return "".join(f"{value:.3f}" for value in values)
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def _memory(rows):
    if not rows:
        return []
    groups, lengths = _groups(rows, "cell", "estimator", "T"), sorted(_names(rows, "T"))
    pairs = dict.fromkeys((cell, name) for cell, name, _ in groups)
    return [
        "",
        "Working memory of a compiled training step over T steps of the stream; here BPTT goes "
        "through all of them.",
        "",
        *markdown(
            ("cell", "estimator", *(f"T = {length:,}" for length in lengths)),
            [
                (
                    f"`{cell}`",
                    NAMES[name],
                    *(
                        "".join(_size(row["bytes"]) for row in groups.get((cell, name, length), ()))
                        for length in lengths
                    ),
                )
                for cell, name in pairs
            ],
            right=True,
        ),
    ]


def learning_figure(rows: Sequence[dict]) -> Figure:
    """Plot the error versus the steps of the stream, a panel per cell and a line per estimator.

    Lines are means over seeds; bands reach from the lowest to the highest seed.
    """
    groups, cells = _groups(rows, "cell", "estimator"), _names(rows, "cell")
    with house_style():
        title = f"Learning on a stream to repeat bits of {rows[0]['delay']} steps ago"
        figure, panels = _panels(cells, title)
        for cell, axes in zip(cells, panels, strict=True):
            for name in _names(rows, "estimator"):
                found = groups.get((cell, name))
                if found:
                    losses = np.array([row["losses"] for row in found])
                    steps = found[0]["steps"] / losses.shape[1] * (np.arange(losses.shape[1]) + 1)
                    axes.plot(steps, losses.mean(0), **LOOKS[name])
                    low, high = losses.min(0), losses.max(0)
                    color = LOOKS[name]["color"]
                    axes.fill_between(steps, low, high, color=color, alpha=0.15, lw=0)
            axes.axhline(CHANCE, color=MUTED, lw=0.8, ls=(0, (4, 3)))
            whole = rows[0]["steps"]
            axes.set(yscale="log", xlim=(0, whole), xticks=[0, whole / 2, whole])
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            name_axes(axes, "steps of the stream", f"{cell.upper()}: squared error")
        _legend(figure, panels[0])
    return figure


def memory_figure(rows: Sequence[dict]) -> Figure:
    """Plot the working memory versus the number of steps, with a panel for each cell."""
    groups, cells = _groups(rows, "cell", "estimator"), _names(rows, "cell")
    with house_style():
        figure, panels = _panels(cells, "Working memory of one training step")
        for cell, axes in zip(cells, panels, strict=True):
            for name in _names(rows, "estimator"):
                found = sorted(groups.get((cell, name), ()), key=lambda row: row["T"])
                lengths, sizes = [row["T"] for row in found], [row["bytes"] for row in found]
                axes.plot(lengths, sizes, "o-", ms=4, **LOOKS[name])
            axes.set(xscale="log", yscale="log")
            axes.set_yticks([1024, 1024**2, 1024**3], ["1 KiB", "1 MiB", "1 GiB"])
            axes.minorticks_off()
            name_axes(axes, "steps of the stream", f"{cell.upper()}: working memory")
        _legend(figure, panels[0])
    return figure


def _panels(cells, title):
    figure = new_figure(3.6, title)
    figure.subplots_adjust(bottom=0.24)
    return figure, figure.subplots(1, len(cells), sharey=True, squeeze=False).ravel()


def _legend(figure, axes):
    """Add a legend of the lines below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.06, 0), ncols=len(NAMES))
