"""Any cell as a cell of Flax linen."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float
from rnn_jax.wrappers.base import draws_noise, has_own_start


class LinenCell(nn.RNNCellBase):
    """Any cell as a Flax linen cell, e.g. for `nn.RNN(LinenCell(cell))`.

    Its only parameter, `weights`, is the result of `cell.init`; carry and outputs are those of the
    cell. A sequence starts from `cell.start`, which may be a learned carry. The carry keeps its
    initial dtype: from `initialize_carry`, float64 if 64-bit types are enabled, otherwise float32.

    Noise such as dropout is not supported: a linen cell runs one step at a time, and noise is
    sampled once per sequence. A "dropout" key for a noisy cell is an error.

    Raises:
      InputError: `cell` is not a `Cell`; in use, a "dropout" key for a noisy cell, or a learned
        initial carry outside `init` and `apply`.
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
        """Run one step: the new carry and the output [..., H]."""
        self._check_noise()
        params = self.param("weights", self.cell.init, inputs.shape[-1])
        new, y = self.cell.step(params, carry, inputs)
        return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, carry), y

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Carry:
        """`cell.start` for inputs of `input_shape` = (..., D); `rng` is unused."""
        batch_shape, dtype = input_shape[:-1], jnp.result_type(float)
        if self.scope is not None:
            self._check_noise()
        if not has_own_start(self.cell):
            return self.cell.initial_carry(batch_shape, dtype)
        if self.scope is None:
            raise InputError(
                f"the initial carry of {type(self.cell).__name__} depends on its parameters, which "
                "exist only inside init and apply; pass cell.start(params, batch_shape) instead."
            )
        # The parameter of `__call__`, created here if `__call__` has not run yet.
        params = self.scope.param("weights", self.cell.init, input_shape[-1])
        return self.cell.start(params, batch_shape, dtype)

    @property
    def num_feature_axes(self) -> int:
        """The number of feature axes, spatial axes included."""
        return 1 + self.cell.spatial_axes

    @nn.nowrap
    def _check_noise(self):
        if draws_noise(self.cell) and self.scope and self.scope.has_rng("dropout"):
            raise InputError(
                f"LinenCell cannot sample the noise of {type(self.cell).__name__}, which is "
                "sampled once per sequence; use rnn_jax.RNN with a key, or pass no 'dropout' key."
            )
