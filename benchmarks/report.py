"""Tables and figure of the throughput benchmark."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from direct_labels import label_ends
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from rnn_jax.plotting import style, tables
from rnn_jax.training.runs.provenance import machine

POINT = ("cell", "pass", "T", "B", "D", "H")
OURS, SCAN, TORCH = "rnn_jax", "rnn_jax scan", "PyTorch"
LINES = {
    "Flax linen": (style.GREEN, "-"),
    "Flax NNX": (style.GREEN, ":"),
    "Haiku": (style.PURPLE, "-"),
    "Equinox": (style.PURPLE, ":"),
    "Keras on JAX": (style.MUTED, "-"),
    TORCH: (style.VERMILLION, "-"),
    "jax.experimental.rnn": (style.MUTED, ":"),
}
"""Color and dashes of the lines of peers; lines of rnn_jax are thick, dotted for one device."""


def show_start(facts: Mapping, absent: Mapping[str, str], earlier: Path | None) -> None:
    """Print the machine and the absent peers."""
    print(f"device   {machine(facts)}")
    if earlier:
        print(f"kept     the earlier run, now in {earlier}")
    for label, reason in absent.items():
        print(f"absent   {label}: {reason}")


def show_layer(rows: Sequence[Mapping], absent: Mapping[str, str]) -> None:
    """Print the table of one point: all rows, and the speedup of each over the best peer."""
    point = rows[0]
    title = "{cell}, {pass}, T={T} B={B} D={D} H={H}".format(**point)
    columns = ("ms", "± iqr", "tokens/s", "GFLOP/s", "of matmul", "compile s", "peak MB", "differs")
    cells = []
    for row in rows:
        seconds = row["compile_ms"] and (row["lower_ms"] + row["compile_ms"]) / 1e3
        cells.append(
            (
                _text(row["median_ms"], "{:,.3g}", 1e3),
                f"{row['iqr_ms']:.2g}",
                f"{row['tokens_per_second']:,.0f}",
                _text(row["gflops"], "{:.1f}"),
                _text(row["roofline_fraction"], "{:.0%}"),
                _text(seconds, "{:.2f}"),
                _text(row["peak_memory_mb"], "{:,.1f}"),
                _text(row["max_difference"], "{:.0e}"),
            )
        )
    _show(title, rows, columns, cells, "median_ms", absent)
    for row in rows:
        if row["difference_note"]:
            print(f"         {row['implementation']}: not compared, {row['difference_note']}")


def summary(rows: Sequence[Mapping]) -> list[str]:
    """Markdown table: rnn_jax with its default driver, a plain scan, and the fastest peers."""
    columns = (
        *("cell", "pass", "T, B, D, H", "rnn_jax", "best JAX peer", "PyTorch"),
        *("x plain scan", "x JAX peer", "x PyTorch", "of matmul"),
    )
    table = []
    for group in groups(rows):
        ours = [row for row in group if row["implementation"].startswith(OURS)]
        default = [row for row in ours if row["default_driver"]] or ours
        mine = default[-1]
        scan = [row for row in ours if row["implementation"] == SCAN]
        jax = [row for row in group if row["jax"] and row not in ours]
        torch = [row for row in group if row["implementation"] == TORCH]
        best = [min(rows, key=_milliseconds, default=None) for rows in (scan, jax, torch)]
        milliseconds = [f"{_milliseconds(row):.3g} ms" if row else "-" for row in (mine, *best[1:])]
        if jax:
            milliseconds[1] += f" ({best[1]['implementation']})"
        ratios = [f"{_milliseconds(row) / _milliseconds(mine):.2f}" if row else "-" for row in best]
        share = _text(mine["roofline_fraction"], "{:.2f}") or "-"
        table.append((*_point(mine), *milliseconds, *ratios, share))
    return tables.markdown(columns, table)


def driver_summary(rows: Sequence[Mapping]) -> list[str]:
    """Markdown table: milliseconds of each driver of rnn_jax, the default in bold."""
    names = list(dict.fromkeys(row["implementation"] for row in rows))
    table = []
    for group in groups(rows):
        default = [row for row in group if row["default_driver"]][-1]
        times = {row["implementation"]: f"{_milliseconds(row):.3g}" for row in group}
        times[default["implementation"]] = f"**{times[default['implementation']]}**"
        table.append((*_point(default), *(times.get(name, "-") for name in names)))
    return tables.markdown(("cell", "pass", "T, B, D, H", *names), table)


def job_summary(rows: Sequence[Mapping]) -> list[str]:
    """Markdown table: a job by each implementation, compared with the default driver."""
    default = [row for row in rows if row["default_driver"]][-1]
    table = []
    for row in rows:
        name = row["implementation"] + (", the default" if row is default else "")
        numbers = (
            f"{row['seconds']:.1f}",
            f"{row['step_ms']:.1f}",
            f"{row['roofline_fraction']:.2f}",
        )
        table.append((name, *numbers, f"{row['seconds'] / default['seconds']:.2f}"))
    columns = ("", "s a job", "ms a step", "of matmul", "rnn_jax is faster by")
    return tables.markdown(columns, table)


def _point(row):
    return row["cell"], row["pass"], "{T}, {B}, {D}, {H}".format(**row)


def _milliseconds(row):
    return row["median_ms"]


def show_job(rows: Sequence[Mapping], absent: Mapping[str, str]) -> None:
    """Print the table of a job."""
    columns = ("s a job", "ms a step", "GFLOP/s", "of matmul", "start s", "final loss")
    cells = [
        (
            f"{row['seconds']:.2f}",
            f"{row['step_ms']:.2f}",
            f"{row['gflops']:.1f}",
            f"{row['roofline_fraction']:.0%}",
            f"{row['start_seconds']:.1f}",
            f"{row['final_loss']:.3f}",
        )
        for row in rows
    ]
    title = "the {job} job, {steps} steps of {batch}".format(**rows[0])
    _show(title, rows, columns, cells, "seconds", absent)


def _show(title, rows, columns, cells, time, absent):
    peers = [row for row in rows if not row["implementation"].startswith(OURS)]
    times = [
        ("x JAX peer", [row[time] for row in peers if row["implementation"] != TORCH]),
        ("x PyTorch", [row[time] for row in peers if row["implementation"] == TORCH]),
    ]
    times = [(name, min(found)) for name, found in times if found]
    columns = ("", *columns, *(name for name, _ in times))
    table = [
        (row["implementation"], *values, *(f"{best / row[time]:.2f}" for _, best in times))
        for row, values in zip(rows, cells, strict=True)
    ]
    styles = ["bold" if row["implementation"].startswith(OURS) else "" for row in rows]
    tables.show(columns, table, title=title, styles=styles)
    for label, reason in absent.items():
        print(f"         {label} is absent: {reason}")


def _text(value, form, most=None):
    """A number as text; "" for None; no exponent from `most` on."""
    if value is None:
        return ""
    return f"{value:,.0f}" if most and value >= most else form.format(value)


def groups(rows: Sequence[Mapping]) -> list[list[Mapping]]:
    """The rows of each point, in the order of measurement."""
    found = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in POINT), []).append(row)
    return list(found.values())


def draw(rows: Sequence[Mapping], path: Path) -> None:
    """Plot tokens per second over T: a panel per cell and pass, a line per implementation."""
    panels = list(dict.fromkeys((row["cell"], row["pass"]) for row in rows))
    passes = list(dict.fromkeys(name for _, name in panels))
    cells = list(dict.fromkeys(name for name, _ in panels))
    sizes = {tuple(row[letter] for letter in "BDH") for row in rows}
    title = "Throughput, {cores} cores, jax {jax}".format(**rows[0])
    if len(sizes) == 1:
        title += ", B={B} D={D} H={H}".format(**rows[0])
    x = "time steps T" if len(sizes) == 1 else "T, B, D and H, one below the other"
    with style.house_style():
        height, below = (3.3, 0.52) if len(sizes) == 1 else (3.9, 1.1)
        figure = style.new_figure(height * len(cells), title)
        room = (below + 0.6) / (height - below - 0.6)
        bottom = below / figure.get_figheight()
        figure.subplots_adjust(bottom=bottom, right=0.81, wspace=0.9, hspace=room)
        axes = figure.subplots(len(cells), len(passes), squeeze=False)
        for i, cell in enumerate(cells):
            for k, name in enumerate(passes):
                chosen = [row for row in rows if (row["cell"], row["pass"]) == (cell, name)]
                _panel(axes[i, k], chosen, len(sizes) == 1)
                style.name_axes(axes[i, k], x, f"{cell}, {name}: tokens/s")
        style.save(figure, path)


def _panel(axes, rows, same_sizes):
    points = sorted({tuple(row[letter] for letter in "TBDH") for row in rows})
    lines = {}
    for row in rows:
        place = points.index(tuple(row[letter] for letter in "TBDH"))
        line = lines.setdefault(row["implementation"], {})
        line[place] = row["tokens_per_second"]
    axes.set_yscale("log")
    for label, line in lines.items():
        color, dashes, width = _look(label)
        places = sorted(line)
        axes.plot(places, [line[p] for p in places], dashes, color=color, lw=width, marker=".")
    axes.set_xlim(-0.15, len(points) - 0.85)
    names = [f"{T}" if same_sizes else f"{T}\n{B}\n{D}\n{H}" for T, B, D, H in points]
    axes.set_xticks(range(len(points)), names)
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set(minor_locator=NullLocator(), major_formatter=EngFormatter(sep=""))
    axes.grid(axis="y")
    label_ends(axes, [(name, _look(name)[0], line[max(line)]) for name, line in lines.items()])


def _look(label):
    if label.startswith(OURS):
        one, many = ("-.", "--") if "remat" in label else (":", "-")
        color = style.INK if "scan" in label else style.BLUE
        return color, many if " x" in label else one, 2.5
    return *LINES.get(label, (style.INK, "-")), 1.2
