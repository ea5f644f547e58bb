"""Rows of gradient_flow.py in a file; damaged rows are skipped, the others are kept."""

import json
from collections.abc import Mapping
from pathlib import Path

import flow_report

from rnn_jax.errors import InputError


def read(path: Path) -> list[dict]:
    """Read the valid rows of a file; print a warning for each invalid line.

    Raises:
      InputError: the file cannot be read.
    """
    rows, bad = _sort_out(path)
    for number, reason, _ in bad:
        print(f"skipped  {path}, line {number}: {reason}")
    return rows


def set_aside_damaged(path: Path) -> None:
    """Move the invalid lines of a file to `<name>.damaged` in the same folder."""
    if not path.exists():
        return
    rows, bad = _sort_out(path)
    if not bad:
        return
    aside = path.with_name(f"{path.name}.damaged")
    with open(aside, "ab") as file:
        file.writelines(line.rstrip(b"\n") + b"\n" for *_, line in bad)
    valid = path.with_name(f"{path.name}.whole")
    valid.write_text("".join(json.dumps(row) + "\n" for row in rows))
    valid.replace(path)
    for number, reason, _ in bad:
        print(f"skipped  {path}, line {number}, now in {aside.name}: {reason}")


def _sort_out(path):
    """The valid rows, and (number, reason, text) of each invalid line."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InputError(f"{path} cannot be read as rows ({error.strerror}).") from error
    rows, bad = {}, []
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            continue  # An interrupted run left it incomplete.
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            bad.append((number, "it is not JSON", line))
            continue
        reason = _fault(row, rows)
        if reason:
            bad.append((number, reason, line))
        else:
            rows[_point(row)] = row
    return list(rows.values()), bad


def _point(row):
    return row["cell"], row["init"], row["T"], row["seed"]


def _fault(row, earlier: Mapping):
    """Reason why a row is invalid or inconsistent with the earlier ones; None otherwise."""
    try:
        _show_alone(row)
        if _point(row) in earlier:
            return "its point is there already"
        first = next((r for key, r in earlier.items() if key[0] == row["cell"]), row)
        if len(first["lyapunov"]) != len(row["lyapunov"]):
            return f"it has {len(row['lyapunov'])} exponents, others {len(first['lyapunov'])}"
    except KeyError as error:
        return f"it has no {error.args[0]}"
    except (TypeError, ValueError, AttributeError, LookupError, StopIteration):
        return "it is not a row of this benchmark"
    return None


def _show_alone(row):
    """Evaluate all values that the table and figures need; raise an exception if one is invalid."""
    (line,) = flow_report.lines([row])
    T, numbers = row["T"], [row["seed"], row["H"], row["B"], row["D"]]
    if not all(isinstance(n, int) for n in (T, *numbers)) or T < 1:
        raise ValueError
    flow_report.title([row])
    flow_report.sentence(line)
    flow_report.numbers(line, T)
    values = [*row["lyapunov"], row["parameter_norms"]["all"]]
    values += [gate[part] for gate in row["gates"].values() for part in ("mean", "low", "high")]
    values += row["time_constant"] or []
    timing = row["timing"]
    for value in values:
        None if value is None else float(value)
    for value in (timing["tokens_per_second"], timing["probed_tokens_per_second"]):
        float(value)
    if line.adjoints(T).shape != (1, T) or len(row["time_constant"] or "abc") != 3:
        raise ValueError
    if row["time_constant"] and row["keep_gate"] is None:
        raise ValueError
