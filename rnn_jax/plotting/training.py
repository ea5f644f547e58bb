"""Figures of a training run: learning curves, predictions and gates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import ArrayLike

from rnn_jax.errors import InputError
from rnn_jax.plotting.style import (
    BLUE,
    DPI,
    INK,
    LINE,
    MARGIN,
    MUTED,
    SKY,
    VERMILLION,
    WIDTH,
    house_style,
    name_axes,
    new_figure,
)

PITCH, GATES_HEIGHT = 1.05, 2.8
COLUMNS, MAX_CORRECT, MAX_WRONG = 8, 16, 8
RATES = {"batch_accuracy": "accuracy", "batch_error_rate": "error rate"}
"""Metrics of a batch from 0 to 1 that `training_figure` plots, and the names of their axes."""


def training_figure(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    test_result: float | None = None,
    loss_name: str = "loss [nats]",
) -> Figure:
    """Plot loss and accuracy or error rate over training, and the test result at the end.

    A loss that is not a positive number leaves a gap, with a cross at the axis.

    Args:
      rows: the rows of metrics.jsonl, with `examples`, `loss` and optionally `batch_accuracy` or
        `batch_error_rate`.
      title: the title.
      test_result: the accuracy or error rate of the test set, as a fraction.
      loss_name: the label of the loss axis, with a unit.

    Raises:
      InputError: there are no rows.
    """
    if not rows:
        raise InputError("rows must have at least one row, got none; train for a step first.")
    end, rows = rows[-1]["examples"], regular_rows(rows)
    examples, loss = np.array([[row["examples"], row["loss"]] for row in rows], float).T
    loss[~(np.isfinite(loss) & (loss > 0))] = np.nan
    low, high = (np.nanmin(loss), np.nanmax(loss)) if np.any(loss > 0) else (1, 1)
    metric = next((name for name in RATES if name in rows[0]), None)
    with house_style():
        figure = new_figure(3.2, title)
        left, *right = figure.subplots(1, 1 + bool(metric), squeeze=False)[0]
        plot_curve(left, examples, loss, f"{loss_name}, log scale", end)
        margin = 1.3 if high > 2 * low else 2.5  # Wide enough for two ticks.
        left.set(yscale="log", ylim=(low / margin, high * margin))
        ticks = LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,))
        left.yaxis.set(major_locator=ticks, minor_locator=NullLocator(), major_formatter="{x:g}")
        if len(rows) > 1:
            left.legend(loc="best")
        if metric:
            values = np.array([row[metric] for row in rows], float)
            _draw_rate(right[0], examples, values, RATES[metric], test_result, end)
    return figure


def regular_rows(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Drop the last row of a run if it follows after a shorter interval than the previous rows.

    A run always ends with a row. One more batch after only a few steps would look like a jump in
    the curve.
    """
    if len(rows) < 3:
        return rows
    first, second, last = (row["examples"] for row in rows[-3:])
    return rows[:-1] if last - second < second - first else rows


def _draw_rate(axes, examples, values, name, test_result, end):
    plot_curve(axes, examples, values, name, end)
    test = np.nan if test_result is None else test_result
    if name == "accuracy":
        lowest = np.nanmin([0.9, test, *values])
        axes.set_ylim(max(0, np.floor(lowest * 10 - 0.3) / 10), 1.01)
    else:
        axes.set_ylim(-0.01, np.clip(1.1 * np.nanmax([test, *values]), 0.1, 1.1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if test_result is not None:
        end, place = (end, test), (5, -22 if test > 0.5 else 16)
        look: dict[str, Any] = {
            "color": VERMILLION,
            "weight": "bold",
            "ha": "right",
            "va": "center",
            "bbox": {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1},
        }
        axes.plot(*end, "D", color=VERMILLION, mec="white", ms=9, clip_on=False, zorder=5)
        axes.annotate(f"test {test:.2%}", end, place, textcoords="offset points", **look)


def plot_curve(axes: Axes, examples: np.ndarray, values: np.ndarray, name: str, end: float) -> None:
    """Plot values of single batches [N] versus the examples seen, and their running median.

    `end` is the number of examples at the end of the run. A single value is plotted as a point with
    a note.
    """
    missing, window = np.isnan(values), len(values) // 8 | 1
    color, size = (SKY, 5 if window < 20 else 2) if window > 1 else (BLUE, 10)
    axes.plot(examples, values, ".-", color=color, lw=0.8, ms=size, label="single batch")
    if window > 1:
        median = np.full(len(values), np.nan)
        for i in np.flatnonzero(~missing):
            reach = min(window // 2, i)
            median[i] = np.nanmedian(values[i - reach : i + reach + 1])
        axes.plot(examples, median, color=BLUE, lw=2, label=f"running median of {window}")
    if missing.any():
        crosses = {"label": "zero or not finite", "transform": axes.get_xaxis_transform()}
        axes.plot(examples[missing], 0.04 * missing[missing], "x", color=VERMILLION, **crosses)
    name_axes(axes, "training examples seen", name)
    axes.set_xlim(0, max(end, examples.max()) * 1.03)
    if len(values) == 1:
        place = {"xytext": (-10, 0), "textcoords": "offset points", "va": "center", "ha": "right"}
        box = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}
        axes.annotate("only one row", (examples[0], values[0]), **place, color=MUTED, bbox=box)
    ticks = MaxNLocator(5, steps=(1, 2, 2.5, 5, 10), integer=True)
    axes.xaxis.set(major_locator=ticks, major_formatter=EngFormatter(sep=""))
    axes.grid(axis="y")


def predictions_figure(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    gates: Mapping[str, ArrayLike],
    gate_image: ArrayLike,
    title: str,
) -> Figure:
    """Plot the first correct images, the most confident mistakes, and gates over one image.

    Args:
      images: gray values of any scale [N, 28, 28].
      labels: classes [N].
      probabilities: predicted probabilities [N, C].
      gates: by name, up to four arrays [T, H] in [0, 1]; if empty, no gates are plotted.
      gate_image: the image [28, 28] that is read from top to bottom in those T steps (28 rows or
        784 pixels).
      title: the title.

    Raises:
      InputError: there are no images, lengths differ, or the gates are not as described.
    """
    images, labels, probabilities = map(np.asarray, (images, labels, probabilities))
    lengths = len(images), len(labels), len(probabilities)
    if not min(lengths) == max(lengths) > 0:
        raise InputError(
            "images, labels and probabilities must have the same length of at least 1, "
            f"got {lengths}."
        )
    gates = {name: np.asarray(gate, float) for name, gate in gates.items()}
    for name, gate in gates.items():
        if gate.ndim != 2 or not 0 <= gate.min() <= gate.max() <= 1:
            found = f"{list(gate.shape)} from {gate.min():.2g} to {gate.max():.2g}"
            raise InputError(
                f"gates must be arrays [T, H] in [0, 1], got {name!r} {found}; use one image "
                "and leave out the candidate."
            )
    predicted, confidence = probabilities.argmax(1), probabilities.max(1).astype(float)
    correct, wrong = np.flatnonzero(predicted == labels), np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    groups = (
        ("Correct", INK, correct, correct[:MAX_CORRECT], "the first {}"),
        ("Wrong", VERMILLION, wrong, wrong[:MAX_WRONG], "the {} most confident"),
    )
    heights = [0.5 + PITCH * -(-len(shown) // COLUMNS) for *_, shown, _ in groups]
    y = sum(heights) + (GATES_HEIGHT if gates else 0)
    with house_style():
        figure = new_figure(y + 0.35, title)
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, figure.get_figheight()))
        page.axis("off")
        for (word, color, found, shown, note), height in zip(groups, heights, strict=True):
            heading = f"{word}: {len(found):,} of {len(labels):,}"
            page.text(MARGIN, y, heading, color=color, weight="bold")
            note = note.format(len(shown)) + ": " if len(shown) < len(found) else ""
            if len(shown):
                note += "predicted digit, its probability"
                page.text(WIDTH - MARGIN, y, note, color=MUTED, ha="right")
            for k, i in enumerate(shown):
                corner = MARGIN + k % COLUMNS, y - 0.86 - PITCH * (k // COLUMNS)
                _draw_digit(page, *corner, images[i], predicted[i], confidence[i], labels[i])
            y -= height
        if gates:
            _draw_gates(page, y - 0.1, gates, np.asarray(gate_image))
    return figure


def _draw_digit(page, x, y, image, predicted, confidence, label) -> None:
    side, wrong = 112 / DPI, predicted != label
    color, edge, width = (VERMILLION, VERMILLION, 2) if wrong else (INK, LINE, 0.8)
    page.imshow(image, "gray_r", extent=(x, x + side, y, y + side))
    page.add_patch(Rectangle((x, y), side, side, fill=False, color=edge, lw=width))
    page.text(x, y - 0.16, f"{predicted}", color=color, size=9, weight="bold")
    shown = ">99%" if confidence > 0.99 else f"{confidence:.0%}"
    page.text(x + side, y - 0.16, shown, color=MUTED, size=9, ha="right")
    if wrong:
        page.text(x, y - 0.31, f"true: {label}", color=color, size=9)


def _draw_gates(page, y, gates, image) -> None:
    side, left, scale, small = 280 / DPI, 0.62, 0.4, {"size": 9, "color": MUTED}
    top, bottom, steps = y - 0.42, y - 0.42 - side, len(next(iter(gates.values())))
    page.text(MARGIN, y, "Gates over the steps of one image (0 closed, 1 open)", weight="bold")
    note = "units sorted by mean; line and band: mean ± SD"
    page.text(WIDTH - MARGIN, y, note, color=MUTED, ha="right")
    page.text(MARGIN, (top + bottom) / 2, "time step", rotation=90, va="center")
    for part in (0, 0.25, 0.5, 0.75, 1):
        tick = f"{part * steps:g}"
        page.text(left - 0.07, top - part * side, tick, ha="right", va="center_baseline", **small)
    page.vlines(left, bottom, top, color=MUTED, lw=0.8)
    page.imshow(image, "gray_r", extent=(left, left + side, bottom, top))
    edges = np.linspace(left + side, WIDTH - MARGIN, len(gates) + 1)
    for start, end, (name, gate) in zip(edges[:-1] + 0.25, edges[1:], gates.items(), strict=True):
        zero, mean, sd = end - scale, gate.mean(1), gate.std(1)
        by_mean = gate[:, np.argsort(gate.mean(0), kind="stable")]
        page.imshow(by_mean, vmin=0, vmax=1, extent=(start, zero - 0.1, bottom, top))
        page.text(start, top + 0.08, name)
        page.text(start, bottom - 0.21, f"{gate.shape[1]} units", **small)
        low, high = zero + scale * np.clip((mean - sd, mean + sd), 0, 1)
        down = top - side * (np.arange(len(gate)) + 0.5) / len(gate)
        page.fill_betweenx(down, low, high, color=SKY, lw=0)
        page.plot(zero + scale * mean, down, color=BLUE)
        page.vlines(zero, bottom, top, color=MUTED, lw=0.8)
        page.imshow(np.linspace(0, 1, 64)[None], extent=(zero, end, bottom - 0.07, bottom))
        page.text(zero, bottom - 0.21, "0", **small)
        page.text(end, bottom - 0.21, "1", ha="right", **small)
    if image.any():
        rows = np.flatnonzero(image.any(axis=1))
        edges = top - side * np.array((rows[0], rows[-1] + 1)) / len(image)
        page.hlines(edges, left, WIDTH - MARGIN, color=MUTED, lw=0.8, ls=":")
