"""The four figures of gradient_flow.py, plotted from its rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from direct_labels import label_ends
from flow_gates import gates
from flow_report import Line, lines, title
from flow_styles import Looks, band
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

from rnn_jax.plotting import style

SMALL_PANELS = 3


def draw(rows: Sequence[Mapping], folder: Path) -> list[Path]:
    """Write the figures to `folder`, except those without data."""
    shown = lines(rows)
    looks, written = Looks(shown), []
    for name, figure in (
        ("gradient_norms.png", gradient_norms),
        ("norm_vs_length.png", norm_vs_length),
        ("lyapunov.png", lyapunov),
        ("gates.png", gates),
    ):
        with style.house_style():
            found = figure(shown, looks, title(rows))
            if found is not None:
                style.save(found, folder / name)
                written.append(folder / name)
    return written


def gradient_norms(shown: Sequence[Line], looks: Looks, what: str) -> Figure:
    """Plot log10 ‖∂L/∂h_t‖ versus T - t, with the longest T in the large panel."""
    lengths = sorted({T for line in shown for T in line.lengths})
    shorter = lengths[:-1]
    if len(shorter) > SMALL_PANELS:
        chosen = np.linspace(0, len(shorter) - 1, SMALL_PANELS).round().astype(int)
        shorter = [shorter[i] for i in chosen]
    figure = style.new_figure(6.3 if shorter else 3.8, f"Gradient norm over time: {what}")
    longest = max(len(line.name) for line in shown)
    figure.subplots_adjust(right=min(0.8, 0.96 - 0.009 * longest))
    if shorter:
        grid = figure.add_gridspec(2, 1, height_ratios=[1, 1.7], hspace=0.36)
        above = grid[0].subgridspec(1, len(shorter), wspace=0.28)
        for i, T in enumerate(shorter):
            axes = figure.add_subplot(above[i])
            _flow(axes, shown, looks, T)
            axes.set_title(f"T = {T}", loc="right", size=9, color=style.MUTED)
            if not i:
                style.name_axes(axes, "", "log₁₀ ‖∂L/∂hₜ‖")
    main = figure.add_subplot(grid[1]) if shorter else figure.subplots()
    ends = _flow(main, shown, looks, lengths[-1])
    main.set_title(f"T = {lengths[-1]}", loc="right", size=9, color=style.MUTED)
    style.name_axes(main, "distance from the last step, T - t", "log₁₀ ‖∂L/∂hₜ‖")
    label_ends(main, ends)
    return figure


def _flow(axes, shown, looks, T):
    """Plot one panel; return (name, color, height) of the end of each line."""
    ends, starts, every = [], [], []
    for line in (line for line in shown if T in line.lengths):
        series, n = line.adjoints(T), np.arange(T)
        mean = series.mean(0)
        band(axes, n, series.T, looks.color(line))
        axes.plot(n, mean, lw=1.8, marker="." if T == 1 else "", **looks.of(line))
        finite = mean[np.isfinite(mean)]
        if finite.size:
            starts.append(finite[0])
            every += [np.nanmin(series), np.nanmax(series)]
            ends.append((line.name, looks.color(line), finite[-1]))
    axes.set_xlim(0, max(T - 1, 1))
    axes.xaxis.set_major_locator(MaxNLocator(4 if T < 1000 else 5, integer=True))
    axes.grid(axis="y")
    if not starts:
        look = {"color": style.MUTED, "ha": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "no finite values", **look)
        axes.set_yticks([])
        return ends
    low, high = min(every), max(every)
    margin = max(high - low, 1)
    axes.set_ylim(low - 0.05 * margin, high + 0.15 * margin)
    for rate in (0.9, 1.1):
        _reference(axes, rate, float(np.median(starts)), T, ends)
    return ends


def _reference(axes, rate, start, T, ends):
    """Plot a dotted line rate^n, labeled at its end."""
    low, high = axes.get_ylim()
    slope, name = np.log10(rate), f"{rate}ⁿ"
    last = min(T - 1, ((high if slope > 0 else low) - start) / slope)
    end = start + last * slope
    axes.plot([0, last], [start, end], ":", color=style.MUTED, lw=1.4)
    if last == T - 1:
        ends.append((name, style.MUTED, end))
        return
    place = (4, -1) if slope > 0 else (4, 2)
    vertical = "top" if slope > 0 else "bottom"
    look = {"color": style.MUTED, "size": 9, "va": vertical}
    axes.annotate(name, (last, end), place, textcoords="offset points", **look)


def norm_vs_length(shown: Sequence[Line], looks: Looks, what: str) -> Figure:
    """Plot the norm of the gradient wrt the cell parameters, and throughput, versus T."""
    figure = style.new_figure(3.4, f"Parameter gradients and throughput: {what}")
    figure.subplots_adjust(right=0.87, wspace=0.85)
    left, right = figure.subplots(1, 2)
    ends = []
    for line in shown:
        norms = [[row["parameter_norms"]["all"] for row in line.at(T)] for T in line.lengths]
        norms = [np.array(values, float) for values in norms]
        mean = np.array([values.mean() for values in norms])
        finite = mean[np.isfinite(mean)]
        band(left, line.lengths, norms, looks.color(line))
        left.plot(line.lengths, mean, **looks.of(line) | looks.points(line))
        ends += [(line.name, looks.color(line), last) for last in finite[-1:]]
    style.name_axes(left, "time steps T", "log₁₀ ‖∂L/∂θ‖, parameters θ of the cell")
    speeds = []
    for cell in dict.fromkeys(line.cell for line in shown):
        own = [line for line in shown if line.cell == cell]
        timing = {row["T"]: row["timing"] for line in own for row in line.rows}
        lengths, color = sorted(timing), looks.color(own[0])
        plain, probed = (
            [timing[T][f"{name}tokens_per_second"] for T in lengths] for name in ("", "probed_")
        )
        right.plot(lengths, plain, "o-", ms=4, color=color)
        right.plot(lengths, probed, "o:", ms=4, mfc="white", color=color)
        speeds.append((own[0].name.partition(",")[0], color, plain[-1]))
    style.name_axes(right, "time steps T", "tokens/s in training; dotted: with probe")
    right.set_ylim(0, 1.05 * right.get_ylim()[1])
    right.yaxis.set_major_formatter(EngFormatter(sep=""))
    every = sorted({T for line in shown for T in line.lengths})
    for axes, labels in ((left, ends), (right, speeds)):
        axes.set_xscale("log", base=2)
        axes.set_xticks(every, every)
        for label, T, longer in zip(axes.get_xticklabels(), every, every[1:], strict=False):
            label.set_visible(longer > 1.8 * T)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(every[0] / 1.3, every[-1] * 1.3)
        axes.grid(axis="y")
        label_ends(axes, labels)
    return figure


def lyapunov(shown: Sequence[Line], looks: Looks, what: str) -> Figure | None:
    """Plot the leading exponents at the longest T, and the gradient's rate versus the largest."""
    shown = [line for line in shown if line.rows[0]["lyapunov"]]
    if not shown:
        return None
    figure = style.new_figure(3.6, f"Lyapunov exponents: {what}")
    figure.subplots_adjust(wspace=0.85)
    left, right = figure.subplots(1, 2)
    T = max(T for line in shown for T in line.lengths)
    ends, rates = [], []
    for line in (line for line in shown if T in line.lengths):
        values = np.array([row["lyapunov"] for row in line.at(T)], float)
        index = np.arange(1, values.shape[1] + 1)
        band(left, index, values.T, looks.color(line))
        mean = values.mean(0)
        left.plot(index, mean, **looks.of(line) | looks.points(line))
        ends += [(line.name, looks.color(line), last) for last in mean[np.isfinite(mean)][-1:]]
        slopes = [next(iter(row["half_life"].values()))["slope"] for row in line.at(T)]
        points = np.array([values[:, 0], slopes], float).T * (1, np.log(10))
        right.plot(*points.T, ls="", mec="white", mew=0.5, **looks.points(line))
        rates.append(points)
    left.axhline(0, color=style.MUTED, lw=0.8)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.name_axes(left, "index i", f"exponents λᵢ [nats per step], T = {T}")
    left.grid(axis="y")
    label_ends(left, ends)
    rates = np.concatenate(rates)
    rates = rates[np.isfinite(rates).all(1)]
    if len(rates):
        low, high = min(rates.min(), 0), max(rates.max(), 0)
        margin = 0.06 * max(high - low, 0.01)
        right.plot([low, high], [low, high], ":", color=style.MUTED, zorder=0)
        right.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    look = {"color": style.MUTED, "size": 9, "ha": "right", "transform": right.transAxes}
    right.text(0.97, 0.04, "dotted: equal rates", **look)
    style.name_axes(right, "λ₁ [nats per step]", "rate of ‖∂L/∂hₜ‖ [nats per step]")
    right.xaxis.set_major_locator(MaxNLocator(4))
    right.grid()
    return figure
