"""Weights from and to the cells of Flax linen, and a linen cell that is any cell of ours."""

import jax.numpy as jnp
from flax import linen as nn

from rnn_jax.cell import Cell, GatedCell, GatedParams
from rnn_jax.cells import GRUCell, GRUParams, LSTMCell, RNNCell
from rnn_jax.errors import InputError
from rnn_jax.interop.pairs import Pair, check_kind, check_options, check_pair
from rnn_jax.typing import Array, Carry, Float, Params


class LinenCell(nn.RNNCellBase):
    """Any cell as a Flax linen cell, for `nn.RNN(LinenCell(cell))` and what else takes one.

    Its only parameter, `weights`, is what `cell.init` returns; carry and outputs are the cell's.

    Raises:
      InputError: a cell that is no `Cell`.
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
        params = self.param("weights", self.cell.init, inputs.shape[-1])
        return self.cell.step(params, carry, inputs)

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Carry:
        """The cell's initial carry for inputs of `input_shape` = (..., D); `rng` is unused."""
        return self.cell.initial_carry(input_shape[:-1])

    @property
    def num_feature_axes(self) -> int:
        """Inputs have one feature axis, the last."""
        return 1


KINDS = {
    nn.SimpleCell: RNNCell,
    nn.GRUCell: GRUCell,
    nn.LSTMCell: LSTMCell,
    nn.OptimizedLSTMCell: LSTMCell,
}


def from_linen(module: nn.Module, params: Params) -> Pair:
    """The cell of a linen cell and its parameters, from `variables["params"]` of the linen cell.

    Under `nn.RNN` these are `variables["params"]["cell"]`.

    Raises:
      InputError: another kind of module; activations, a residual or an initial carry that no cell
        here has; params that are not the module's.
    """
    check_kind(module, KINDS)
    check_options(module, carry_init=(nn.initializers.zeros,))
    if isinstance(module, nn.SimpleCell):
        check_options(module, activation_fn=(nn.tanh, nn.relu), residual=(False,))
        activation = "relu" if module.activation_fn is nn.relu else "tanh"
        cell = RNNCell(module.features, activation=activation)
    else:
        check_options(module, activation_fn=(nn.tanh,), gate_fn=(nn.sigmoid,))
        cell = KINDS[type(module)](module.features)
    x_names, h_names, biased = _names(cell)

    def joined(names, leaf):
        return jnp.concatenate([params[name][leaf] for name in names], axis=-1)

    try:
        ours = joined(x_names, "kernel"), joined(h_names, "kernel"), joined(biased, "bias")
        gru = isinstance(cell, GRUCell)
        ours = GRUParams(*ours, b_h=params["hn"]["bias"]) if gru else GatedParams(*ours)
    except KeyError as error:
        raise InputError(
            f"params must be those of {type(module).__name__}, {', '.join(x_names + h_names)}, and "
            f"have no {error}; give variables['params'] of the linen cell."
        ) from error
    check_pair(cell, ours)
    return cell, ours


def to_linen(cell: GatedCell, params: Params) -> tuple[nn.RNNCellBase, dict[str, dict[str, Array]]]:
    """The linen cell of a cell, and its params: `module.apply({"params": params}, carry, x)`.

    Linear in `params` and open to `jax.grad`. The carry of a linen LSTM is (c, h), of others h.

    Raises:
      InputError: a cell that linen lacks; params that are not the cell's.
    """
    check_pair(cell, params)
    x_names, h_names, biased = _names(cell)
    kernels = [*cell.split(params.w_x), *cell.split(params.w_h)]
    theirs = {
        name: {"kernel": kernel} for name, kernel in zip(x_names + h_names, kernels, strict=True)
    }
    for name, bias in zip(biased, cell.split(params.b), strict=True):
        theirs[name]["bias"] = bias
    if isinstance(cell, GRUCell):
        theirs["hn"]["bias"] = params.b_h
    if isinstance(cell, RNNCell):
        activation = nn.relu if cell.activation == "relu" else nn.tanh
        return nn.SimpleCell(cell.hidden_size, activation_fn=activation), theirs
    kind = nn.GRUCell if isinstance(cell, GRUCell) else nn.OptimizedLSTMCell
    return kind(cell.hidden_size), theirs


def _names(cell):
    """What linen calls the products with x, those with h, and those of the two that add b."""
    if isinstance(cell, RNNCell):
        return ["i"], ["h"], ["i"]
    x_names, h_names = ([f"{side}{gate}" for gate in cell.gates] for side in "ih")
    return x_names, h_names, h_names if isinstance(cell, LSTMCell) else x_names
