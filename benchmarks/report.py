"""Tables of the throughput benchmark."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rnn_jax.plotting import tables
from rnn_jax.training.runs.provenance import machine

POINT = ("cell", "pass", "T", "B", "D", "H")
OURS, TORCH = "rnn_jax", "PyTorch"


def is_ours(row: Mapping) -> bool:
    """Return whether a row belongs to rnn_jax."""
    return row["implementation"].startswith(OURS)


def label(row: Mapping) -> str:
    """The implementation of a row, with the number of devices if there are several."""
    return row["implementation"] + (f" x{row['devices']}" if row["devices"] > 1 else "")


def show_start(facts: Mapping, absent: Mapping[str, str], earlier: Path | None) -> None:
    """Print the machine and the absent peers."""
    print(f"device   {machine(facts)}")
    if earlier:
        print(f"kept     the earlier run, now in {earlier}")
    show_absent(absent)


def show_absent(absent: Mapping[str, str]) -> None:
    """Print why implementations are not measured."""
    for label, reason in sorted(absent.items()):
        print(f"absent   {label}: {reason}")


def show_layer(rows: Sequence[Mapping]) -> None:
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
    _show(title, rows, columns, cells, "median_ms")
    differs = {row["implementation"]: row["difference_note"] for row in rows}
    for name, note in differs.items():
        if note:
            print(f"         {name}: not compared, {note}")


def overview(rows: Sequence[Mapping]) -> list[str]:
    """Markdown table of libraries, or of the drivers of rnn_jax if there is no other library."""
    return driver_summary(rows) if all(map(is_ours, rows)) else summary(rows)


def summary(rows: Sequence[Mapping]) -> list[str]:
    """Markdown table: rnn_jax with its default driver and the fastest peers.

    One column is for one device and one for the maximum number of devices that share a batch. "x"
    compares the faster of the two for each library. A star marks a peer with different equations.
    """
    most = max(row["devices"] for row in rows)
    counts = f"{most} devices" if most > 1 else "several devices"
    columns = (
        *("cell", "pass", "T, B, D, H", "rnn_jax, 1 device", f"rnn_jax, {counts}"),
        *("JAX peer, 1 device", f"JAX peer, {counts}", "PyTorch"),
        *("x JAX peer", "x PyTorch", "of matmul"),
    )
    table = []
    for group in groups(rows):
        ours = [row for row in group if is_ours(row)]
        ours = [row for row in ours if row["default_driver"]] or ours
        jax = [row for row in group if row["jax"] and not is_ours(row)]
        torch = [row for row in group if row["implementation"] == TORCH]
        times = [_text_of(_fastest(rows, several)) for rows in (ours, jax) for several in (0, 1)]
        mine, *others = (min(rows, key=_milliseconds, default=None) for rows in (ours, jax, torch))
        ratios = [
            f"{_milliseconds(row) / _milliseconds(mine):.2f}" if row else "-" for row in others
        ]
        share = _text(mine["roofline_fraction"], "{:.2f}") or "-"
        table.append((*_point(mine), *times, _text_of(others[1]), *ratios, share))
    return tables.markdown(columns, table)


def _fastest(rows, several):
    """The fastest row on one device, or on several; None if there is none."""
    chosen = [row for row in rows if (row["devices"] > 1) == several]
    return min(chosen, key=_milliseconds, default=None)


def _text_of(row):
    if row is None:
        return "-"
    star = "*" if row.get("difference_note") else ""
    named = not is_ours(row) and row["implementation"] != TORCH
    name = f" ({row['implementation']}{star})" if named else ""
    return f"{_milliseconds(row):.3g} ms{name}"


def driver_summary(rows: Sequence[Mapping]) -> list[str]:
    """Markdown table: milliseconds of each driver of rnn_jax, with the default in bold."""
    names = list(dict.fromkeys(label(row) for row in rows))
    table = []
    for group in groups(rows):
        times = {
            label(row): f"{'**' * row['default_driver']}{_milliseconds(row):.3g}"
            f"{'**' * row['default_driver']}"
            for row in group
        }
        table.append((*_point(group[0]), *(times.get(name, "-") for name in names)))
    short = [name.removeprefix("rnn_jax ") for name in names]
    return tables.markdown(("cell", "pass", "T, B, D, H", *short), table)


def job_summary(rows: Sequence[Mapping]) -> list[str]:
    """Markdown table: a job with each implementation, compared with the default driver."""
    default = [row for row in rows if row["default_driver"]][-1]
    table = []
    for row in rows:
        name = label(row) + (", the default" if row is default else "")
        numbers = (
            f"{row['seconds']:.1f}",
            f"{row['step_ms']:.1f}",
            f"{row['roofline_fraction']:.2f}",
        )
        table.append((name, *numbers, f"{row['seconds'] / default['seconds']:.2f}"))
    columns = ("", "s per job", "ms per step", "of matmul", "rnn_jax is faster by")
    return tables.markdown(columns, table)


def _point(row):
    return row["cell"], row["pass"], "{T}, {B}, {D}, {H}".format(**row)


def _milliseconds(row):
    return row["median_ms"]


def show_job(rows: Sequence[Mapping]) -> None:
    """Print the table of a job."""
    columns = ("s per job", "ms per step", "GFLOP/s", "of matmul", "start s", "final loss")
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
    _show(title, rows, columns, cells, "seconds")


def _show(title, rows, columns, cells, time):
    peers = [row for row in rows if not is_ours(row)]
    times = [
        ("x JAX peer", [row[time] for row in peers if row["implementation"] != TORCH]),
        ("x PyTorch", [row[time] for row in peers if row["implementation"] == TORCH]),
    ]
    times = [(name, min(found)) for name, found in times if found]
    columns = ("", *columns, *(name for name, _ in times))
    table = [
        (label(row), *values, *(f"{best / row[time]:.2f}" for _, best in times))
        for row, values in zip(rows, cells, strict=True)
    ]
    styles = ["bold" if is_ours(row) else "" for row in rows]
    tables.show(columns, table, title=title, styles=styles)


def _text(value, form, most=None):
    """Format a number; "" for None; without an exponent from `most` on."""
    if value is None:
        return ""
    return f"{value:,.0f}" if most and value >= most else form.format(value)


def groups(rows: Sequence[Mapping]) -> list[list[Mapping]]:
    """The rows of each point, in the order of measurement."""
    found = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in POINT), []).append(row)
    return list(found.values())
