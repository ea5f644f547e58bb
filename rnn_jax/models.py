"""Models of sequences that answer at every step, and hand on the carry they end with."""

from collections.abc import Mapping

from flax import nnx

from rnn_jax.cell import Cell
from rnn_jax.cells import CELLS
from rnn_jax.modules import RNN
from rnn_jax.scan import Driver
from rnn_jax.typing import Array, Carry, Float


class SequenceModel(nnx.Module):
    """A recurrent layer, and a linear layer on each of its outputs.

    Args:
      cell: any `Cell`.
      input_size: D, the number of input features.
      output_size: C, the number of output features.
      driver: as in `RNN`.
      rngs: where the parameters' keys come from.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        output_size: int,
        *,
        driver: Driver = "auto",
        rngs: nnx.Rngs,
    ):
        self.rnn = RNN(cell, input_size, driver=driver, rngs=rngs)
        self.output = nnx.Linear(cell.hidden_size, output_size, rngs=rngs)

    def __call__(
        self, xs: Float[Array, "T ... D"], carry: Carry | None = None
    ) -> tuple[Carry, Float[Array, "T ... C"]]:
        """The final carry and the outputs [T, ..., C] for xs [T, ..., D]; see `unroll`."""
        carry, ys = self.rnn(xs, carry)
        return carry, self.output(ys)


def build_sequence_model(settings: Mapping) -> SequenceModel:
    """The model that settings describe: cell, hidden_size, input_size, output_size and seed."""
    cell = CELLS[settings["cell"]](settings["hidden_size"])
    sizes = settings["input_size"], settings["output_size"]
    return SequenceModel(cell, *sizes, rngs=nnx.Rngs(settings["seed"]))
