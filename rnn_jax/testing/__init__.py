"""The contract suite: what holds for every cell of this package, asked of any cell."""

from collections.abc import Sequence

import jax

from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError, check_size
from rnn_jax.testing import ragged, running, values
from rnn_jax.testing.case import Case, Claims
from rnn_jax.testing.oracle import drivers_for

__all__ = ["CHECKS", "OF_A_CELL", "OF_A_RUN", "Case", "ContractError", "check_cell", "drivers_for"]

OF_A_CELL = values.CLAIMS
"""Claims about the cell as a value, whatever the driver."""

OF_A_RUN = Claims(running.CLAIMS | ragged.CLAIMS)
"""Claims about the cell under each driver that it can take."""

CHECKS = Claims(OF_A_CELL | OF_A_RUN)
"""All claims by their words; each is a function of a `Case` that raises where it does not hold."""


class ContractError(AssertionError):
    """A cell breaks claims of the contract; the message names each, where, and what to do."""


def check_cell(
    cell: Cell, *, drivers: Sequence[str] | None = None, features: int = 2
) -> tuple[str, ...]:
    """Ask of `cell` all that holds for every cell, in float64; a small one is checked in seconds.

    What it is comes first (parameters, carry, equality). Where that holds, what it does under each
    driver: values and gradients against a Python loop of `cell.step` and finite differences,
    causality, split and resume, batches, lengths, bfloat16, no recompilation.

    Args:
      cell: any `Cell`; H = 3 says as much as H = 300, and sooner.
      drivers: some of `drivers_for(cell)`; by default all of them.
      features: D of the inputs.

    Returns:
      The claims that hold, in words: all there are.

    Raises:
      ContractError: at least one does not.
      InputError: `cell` is no Cell, or cannot take one of the drivers.
    """
    if not isinstance(cell, Cell):
        raise InputError(f"check_cell takes a cell such as LSTMCell(3), got {cell!r}.")
    check_size("features", features)
    known = drivers_for(cell)
    drivers = known if drivers is None else tuple(drivers)
    for driver in drivers:
        if driver not in known:
            raise InputError(
                f"{type(cell).__name__} can take the drivers {', '.join(known)}; got {driver!r}."
            )
    with jax.enable_x64(True):
        broken = _broken(OF_A_CELL, [Case(cell, features=features)])
        last = ["Claims about how it runs were not tried."] if broken else []
        broken = broken or _broken(OF_A_RUN, [Case(cell, driver, features) for driver in drivers])
    if broken:
        first = f"{cell!r} breaks {len(broken)} of the claims on every cell:"
        raise ContractError("\n".join([first, *broken, *last]))
    return tuple(CHECKS)


def _broken(claims, cases):
    """A line for each claim that fails: what was claimed, what was found by which drivers, help."""
    lines = []
    for claim, check in claims.items():
        found = {}
        for case in cases:
            try:
                check(case)
            except Exception as error:
                found.setdefault(_in_short(error), []).append(case.driver)
        if found:
            what = "; ".join(
                f"{', '.join(drivers)}: {message}" if any(drivers) else message
                for message, drivers in found.items()
            )
            lines.append(f"- {claim}. Found: {what}. Hint: {check.__doc__}")
    return lines


def _in_short(error):
    """The message of an exception on one line; its kind too, if it is no claim's own."""
    message = " ".join(str(error).split()).rstrip(".")
    message = message if len(message) <= 400 else message[:400] + " ..."
    return message if type(error) is AssertionError else f"{type(error).__name__}: {message}"
