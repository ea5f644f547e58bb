"""Contract suite: properties that hold for every cell of this package, checked for any cell."""

from collections.abc import Sequence

import jax

from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError, check_size
from rnn_jax.testing import ragged, running, values
from rnn_jax.testing.case import Case, Checks
from rnn_jax.testing.oracle import drivers_for

__all__ = [
    "CHECKS",
    "RUN_CHECKS",
    "VALUE_CHECKS",
    "Case",
    "ContractError",
    "check_cell",
    "drivers_for",
]

VALUE_CHECKS = values.CHECKS
"""Checks of the cell as a value, independent of drivers."""

RUN_CHECKS = Checks(running.CHECKS | ragged.CHECKS)
"""Checks of running the cell, for each driver that supports it."""

CHECKS = Checks(VALUE_CHECKS | RUN_CHECKS)
"""All checks by name; each is a function of a `Case` that raises if the property does not hold."""


class ContractError(AssertionError):
    """A cell violates the contract; the message lists each failed check with a hint."""


def check_cell(
    cell: Cell, *, drivers: Sequence[str] | None = None, features: int = 2
) -> tuple[str, ...]:
    """Check that `cell` has all properties that hold for every cell, in float64.

    The first checks concern the cell as a value: parameters, initial carry, equality. If they pass,
    the cell is run with each driver: values and gradients against a Python loop of `cell.step` and
    finite differences, causality, splitting, batches, lengths, bfloat16, recompilation. A small
    cell takes seconds.

    Args:
      cell: any `Cell`; H = 3 is as thorough as H = 300, and faster.
      drivers: a subset of `drivers_for(cell)`; by default, all of them.
      features: D of the inputs.

    Returns:
      The names of all checks.

    Raises:
      ContractError: at least one check failed.
      InputError: `cell` is not a `Cell`, or does not support one of the drivers.
    """
    if not isinstance(cell, Cell):
        raise InputError(f"check_cell needs a cell such as LSTMCell(3), got {cell!r}.")
    check_size("features", features)
    known = drivers_for(cell)
    drivers = known if drivers is None else tuple(drivers)
    for driver in drivers:
        if driver not in known:
            raise InputError(
                f"{type(cell).__name__} supports the drivers {', '.join(known)}; got {driver!r}."
            )
    with jax.enable_x64(True):
        failed = _failures(VALUE_CHECKS, [Case(cell, features=features)])
        last = ["The checks of running the cell were skipped."] if failed else []
        failed = failed or _failures(
            RUN_CHECKS, [Case(cell, driver, features) for driver in drivers]
        )
    if failed:
        first = f"{cell!r} fails {len(failed)} of the checks for cells:"
        raise ContractError("\n".join([first, *failed, *last]))
    return tuple(CHECKS)


def _failures(checks, cases):
    """A line for each failed check: its name, what was found with which drivers, and the hint."""
    lines = []
    for name, check in checks.items():
        found = {}
        for case in cases:
            try:
                check(case)
            except Exception as error:
                found.setdefault(_summary(error), []).append(case.driver)
        if found:
            what = "; ".join(
                f"{', '.join(drivers)}: {message}" if any(drivers) else message
                for message, drivers in found.items()
            )
            lines.append(f"- {name}. Found: {what}. Hint: {check.__doc__}")
    return lines


def _summary(error):
    """The message of an exception on one line, with its type unless it is an AssertionError."""
    message = " ".join(str(error).split()).rstrip(".")
    message = message if len(message) <= 400 else message[:400] + " ..."
    return message if type(error) is AssertionError else f"{type(error).__name__}: {message}"
