"""The driver protocol: objects that run a cell over time."""

import dataclasses
from typing import Any, ClassVar

from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float, Inputs, Params
from rnn_jax.wrappers.masking import EpisodicCell, MaskedCell


@dataclasses.dataclass(frozen=True)
class Driver:
    """An algorithm that runs a cell over time.

    Drivers are frozen and hashable, so that they can be static arguments of `jax.jit`. Masks,
    resets and noise are built into the cell (see `rnn_jax.drivers.arguments.prepare`), so a driver
    needs no code for them.

    Attributes:
      name: the name that `unroll` accepts for the driver with its default options.
    """

    name: ClassVar[str]

    def check(self, cell: Cell, steps: int) -> None:
        """Raise InputError unless the driver can run `cell` over T = `steps` steps.

        `steps` is not an int in a program exported with a symbolic number of steps.
        """
        if not isinstance(steps, int):
            raise InputError(
                f"the {self.name} driver needs a fixed number of steps, got {steps}; "
                "use driver='scan'."
            )

    def run(
        self, cell: Cell, params: Params, carry: Carry, xs: Inputs
    ) -> tuple[Carry, Float[Array, "T ... O"], Any]:
        """The final carry, the outputs and a report, for at least one step and one example.

        The report is None, or a named tuple of arrays with a field `converged` and a method
        `check` that raises RunError unless it is true.
        """
        raise NotImplementedError


def given_cell(cell: Cell) -> Cell:
    """The cell given to `unroll`, without the wrappers for masks and resets."""
    while isinstance(cell, MaskedCell | EpisodicCell):
        cell = cell.inner
    return cell
