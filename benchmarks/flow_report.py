"""Summary of the rows of gradient_flow.jsonl: a table, and a sentence for each network."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from rnn_jax.analysis.time_scales import HalfLife
from rnn_jax.plotting import tables

COLUMNS = (
    *("", "T", "ms per step", "with probe", "tokens/s", "log ‖∂L/∂θ‖", "log ‖∂L/∂h‖ T → 1"),
    *("half-life", "λ₁ per step", "keeps for"),
)
SPELLED = {"gain": "gain ", "forget": "forget bias "}


@dataclasses.dataclass(frozen=True)
class Line:
    """All rows of a cell with one initialization."""

    name: str
    cell: str
    rows: Sequence[Mapping]

    @property
    def lengths(self) -> list[int]:
        """The measured sequence lengths T, ascending."""
        return sorted({row["T"] for row in self.rows})

    @property
    def gates(self) -> list[str]:
        """Gates with values in every row."""
        return [
            name for name in self.rows[0]["gates"] if all(name in r["gates"] for r in self.rows)
        ]

    def at(self, T: int) -> list[Mapping]:
        """The rows of one length, one for each seed."""
        return [row for row in self.rows if row["T"] == T]

    def adjoints(self, T: int) -> np.ndarray:
        """log10 ‖∂L/∂h_t‖ over the distance from the loss [seeds, T]: h is the carry's first field.

        NaN where the norm is zero or not finite.
        """
        fields = (next(iter(row["adjoint_norms"].values())) for row in self.at(T))
        return np.array(list(fields), float)[:, ::-1]

    def half_life(self, T: int) -> HalfLife:
        """Half-life of the gradient: the most common kind over seeds, and its median steps."""
        lives = [HalfLife(**next(iter(row["half_life"].values()))) for row in self.at(T)]
        kinds = [life.kind for life in lives]
        kind = max(kinds, key=kinds.count)
        alike = [life for life in lives if life.kind == kind]
        steps, slope = (
            float(np.median([np.nan if v is None else v for v in values]))
            for values in zip(*((life.steps, life.slope) for life in alike), strict=True)
        )
        return HalfLife(kind, steps, slope)

    def mean(self, T: int, value: Callable[[Mapping], float | None]) -> float:
        """Mean of a column over seeds; NaN if no seed has it."""
        found = [number for row in self.at(T) if (number := value(row)) is not None]
        return float(np.mean(found)) if found else np.nan


def lines(rows: Sequence[Mapping]) -> list[Line]:
    """Rows by cell and initialization, each in the order of its first row."""
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    found = {}
    for row in sorted(rows, key=lambda row: cells.index(row["cell"])):
        found.setdefault((row["cell"], row["init"]), []).append(row)
    return [Line(_name(*key), key[0], own) for key, own in found.items()]


def _name(cell, init):
    cell = cell.upper() if ":" not in cell else cell.partition(":")[2]
    if init == "default":
        return cell
    kind, equals, number = init.partition("=")
    return f"{cell}, {SPELLED.get(kind, f'{kind} ')}{number}" if equals else f"{cell}, {init}"


def sentence(line: Line) -> str:
    """A sentence about the gradient of a network at the longest measured T."""
    T = line.lengths[-1]
    kind, steps, _ = line.half_life(T)
    fate = {
        "vanishes": f"vanishes with half-life {steps:.3g} steps",
        "explodes": f"explodes, doubling every {steps:.3g} steps",
        "carried": "is carried: it changes less than twofold",
        "undefined": "is not finite: the network itself overflows",
    }
    return f"{line.name}: over {T} steps the gradient {fate[kind]}."


def summary(rows: Sequence[Mapping]) -> list[str]:
    """Lines of Markdown with the table and the sentences."""
    found = lines(rows)
    sentences = [f"- {sentence(line)}" for line in found]
    return [*tables.markdown(COLUMNS, _table(found)), "", *sentences]


def show(rows: Sequence[Mapping]) -> None:
    """Print the table, a row for each network and length, and then the sentences."""
    found = lines(rows)
    tables.show(COLUMNS, _table(found), title=title(rows))
    for line in found:
        print(sentence(line))


def _table(found):
    return [(line.name, *numbers(line, T)) for line in found for T in line.lengths]


def title(rows: Sequence[Mapping]) -> str:
    """Title of tables and figures: the task or the run, the sizes, the number of seeds."""
    row, seeds = rows[0], len({row["seed"] for row in rows})
    what = Path(row["from_run"]).name if row["from_run"] else row["task"]
    return f"{what}, H={row['H']}, B={row['B']}, {seeds} seed{'s' * (seeds > 1)}"


def numbers(line: Line, T: int) -> tuple[str, ...]:
    """Cells of the table for a network at one length, without its name; see `COLUMNS`."""
    timing, life, series = line.at(T)[0]["timing"], line.half_life(T), line.adjoints(T).mean(0)
    steps = {"vanishes": "{:.3g}", "explodes": "doubles in {:.3g}"}.get(life.kind, life.kind)
    leading = line.mean(T, lambda row: next(iter(row["lyapunov"]), None))
    keeps = line.mean(T, lambda row: row["time_constant"] and row["time_constant"][1])
    return (
        f"{T}",
        f"{timing['median_ms']:.3g}",
        f"{timing['probe_ratio']:.2f}x",
        f"{timing['tokens_per_second']:,.0f}",
        _text(line.mean(T, lambda row: row["parameter_norms"]["all"]), "{:.2f}"),
        f"{_text(series[0], '{:.1f}')} → {_text(series[-1], '{:.1f}')}",
        steps.format(life.steps),
        _text(leading, "{:+.4f}"),
        _text(keeps, "{:.3g}"),
    )


def _text(value, form):
    return form.format(value) if np.isfinite(value) else "-"
