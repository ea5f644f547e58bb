"""Flax NNX layer that runs one cell forward and another backward in time."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers.unroll import DriverLike
from rnn_jax.errors import InputError
from rnn_jax.initializers import Default, Initializer
from rnn_jax.layers.checks import call_key
from rnn_jax.layers.rnn import RNN
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Key


class BothCarries(NamedTuple):
    """The carries of a bidirectional layer."""

    forward: Carry
    backward: Carry


class Bidirectional(nnx.Module):
    """Two layers of the same cell with separate parameters, one forward and one backward in time.

    Args:
      cell, input_size, init, dtype, driver, time_major, rngs: as in `RNN`.
      merge: "concat" concatenates the outputs, [T, ..., 2 O]; "sum" adds them.

    Raises:
      InputError: an invalid argument.
    Reference: Schuster, Paliwal (1997), "Bidirectional recurrent neural networks".
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        merge: Literal["concat", "sum"] = "concat",
        init: Initializer = Default(),
        dtype: Any = None,
        driver: DriverLike = "auto",
        time_major: bool = True,
        rngs: nnx.Rngs,
    ):
        if merge not in ("concat", "sum"):
            raise InputError(f"merge must be 'concat' or 'sum', got {merge!r}.")
        require_cell(type(self).__name__, cell)
        self.merge = merge
        self.time_major = time_major
        options = {"init": init, "dtype": dtype, "driver": driver, "time_major": time_major}
        self.forward = RNN(cell, input_size, **options, rngs=rngs)
        self.backward = RNN(cell, input_size, **options, rngs=rngs)
        self.input_size = input_size
        self.output_size = cell.output_size * (2 if merge == "concat" else 1)

    def __call__(
        self,
        xs: Float[Array, "T ... D"],
        carry: BothCarries | None = None,
        *,
        lengths: Int[Array, "..."] | None = None,
        mask: Bool[Array, "T ..."] | None = None,
        resets: Bool[Array, "T ..."] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: nnx.Rngs | None = None,
        tbptt_steps: int | None = None,
        driver: DriverLike | None = None,
    ) -> tuple[BothCarries, Float[Array, "T ... O"]]:
        """Run both layers; the arguments are those of `RNN.__call__`.

        With lengths, the backward layer starts each sequence at its own last step.

        Returns:
          Both final carries (the backward one is at the first step) and the merged outputs.
        """
        key = call_key(key, rngs)
        first, second = (None, None) if carry is None else _both_carries(carry)
        keys = (None, None) if key is None else jax.random.split(key)
        options = {
            "lengths": lengths,
            "mask": mask,
            "resets": resets,
            "tbptt_steps": tbptt_steps,
            "driver": driver,
        }
        ahead, ys = self.forward(xs, first, key=keys[0], **options)
        back, back_ys = self.backward(xs, second, key=keys[1], reverse=True, **options)
        merged = jnp.concatenate([ys, back_ys], -1) if self.merge == "concat" else ys + back_ys
        return BothCarries(ahead, back), merged


def _both_carries(carry):
    if isinstance(carry, BothCarries) or (type(carry) in (tuple, list) and len(carry) == 2):
        return carry
    raise InputError(
        "carry of Bidirectional must be BothCarries(forward, backward), got "
        f"a {type(carry).__name__}."
    )
