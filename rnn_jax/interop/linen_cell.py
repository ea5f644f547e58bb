"""Any cell as a cell of Flax linen."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float
from rnn_jax.wrappers.base import draws_noise, has_own_start


class LinenCell(nn.RNNCellBase):
    """Any cell as a Flax linen cell, for `nn.RNN(LinenCell(cell))` and what else takes one.

    Its only parameter, `weights`, is what `cell.init` returns; carry and outputs are the cell's. A
    sequence starts from `cell.start`, a learned carry included. The carry keeps the dtype that it
    starts with; `initialize_carry` makes it float64 if 64-bit types are enabled, else float32.

    Noise such as dropout is not drawn: a linen cell sees one step at a time, and these cells draw
    for a whole run. With a "dropout" key, cells that would draw from it are refused.

    Raises:
      InputError: a cell that is no `Cell`; in use, a "dropout" key for a cell that draws noise, or
        a start from the parameters outside of `init` and `apply`.
    """

    cell: Cell

    def __post_init__(self):
        if not isinstance(self.cell, Cell):
            got = type(self.cell).__name__
            raise InputError(f"LinenCell expects a Cell, e.g. LSTMCell(64), got {got}.")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, carry: Carry, inputs: Float[Array, "... D"]
    ) -> tuple[Carry, Float[Array, "... H"]]:
        """One step of the cell: the new carry and the output [..., H]."""
        self._refuse_noise()
        params = self.param("weights", self.cell.init, inputs.shape[-1])
        new, y = self.cell.step(params, carry, inputs)
        return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, carry), y

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Carry:
        """`cell.start` for inputs of `input_shape` = (..., D); `rng` is unused."""
        batch_shape, dtype = input_shape[:-1], jnp.result_type(float)
        if self.scope is not None:
            self._refuse_noise()
        if not has_own_start(self.cell):
            return self.cell.initial_carry(batch_shape, dtype)
        if self.scope is None:
            raise InputError(
                f"the start of {type(self.cell).__name__} is in its parameters, which LinenCell "
                "has within init and apply only; pass cell.start(params, batch_shape) as the carry."
            )
        # The parameter of `__call__`, which may not have been called yet.
        params = self.scope.param("weights", self.cell.init, input_shape[-1])
        return self.cell.start(params, batch_shape, dtype)

    @property
    def num_feature_axes(self) -> int:
        """The features, and before them the axes of places of a cell that has any."""
        return 1 + self.cell.spatial_axes

    @nn.nowrap
    def _refuse_noise(self):
        if draws_noise(self.cell) and self.scope.has_rng("dropout"):
            raise InputError(
                f"LinenCell cannot draw the noise of {type(self.cell).__name__}, which is drawn "
                "once for a run; use rnn_jax.RNN and its argument key, or no 'dropout' key."
            )
