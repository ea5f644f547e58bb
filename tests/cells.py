"""The table of cells: a new cell adds one row to CELLS and inherits the whole contract suite."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import pytest
from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax import (
    AntisymmetricRNNCell,
    Cell,
    ConvLSTMCell,
    CoRNNCell,
    CoupledLSTMCell,
    CTRNNCell,
    DeltaNetCell,
    GatedCell,
    GatedDeltaNetCell,
    GRUCell,
    HiddenCarry,
    IndRNNCell,
    IRNNCell,
    LEMCell,
    LMUCell,
    LRUCell,
    LSTMCell,
    MinGRUCell,
    MinimalGatedCell,
    MinLSTMCell,
    MLSTMCell,
    PeepholeLSTMCell,
    ProjectedLSTMCell,
    ResetBeforeGRUCell,
    RGLRUCell,
    RNNCell,
    S5Cell,
    SLSTMCell,
    UGRNNCell,
    layer_norm,
    learned_carry,
    orthogonal_recurrence,
    unbiased,
    zoneout,
)
from rnn_jax.typing import Array

H = 3


@dataclasses.dataclass(frozen=True)
class LinearRNNCell(GatedCell):
    """Linear: h' = x w_x + b + h w_h."""

    gates = ("h",)

    def update(self, params, carry, x_gates, h_gates):
        return HiddenCarry(h=x_gates + h_gates)


class LeakyParams(NamedTuple):
    w_x: Array
    w_h: Array
    b: Array
    b_h: Array
    leak: Array
    gain: Array


@dataclasses.dataclass(frozen=True)
class LeakyCell(GatedCell):
    """Parameters in every part: h' = h + sigmoid(leak) (tanh(...) - h), y = gain h."""

    gates = ("h",)

    def init(self, key, input_size):
        b_h, leak = (jnp.zeros(self.hidden_size, jnp.float32) for _ in range(2))
        return LeakyParams(*super().init(key, input_size), b_h=b_h, leak=leak, gain=leak + 1)

    def mix(self, params, carry):
        return super().mix(params, carry) + params.b_h

    def update(self, params, carry, x_gates, h_gates):
        change = tanh(x_gates + h_gates) - carry.h
        return HiddenCarry(h=carry.h + sigmoid(params.leak) * change)

    def readout(self, params, carry):
        return params.gain * carry.h


SLOW, FAST, BOTH = ("scan",), ("chunked",), ("scan", "chunked")


class Row(NamedTuple):
    cell: Cell
    drivers: tuple[str, ...] = BOTH


CELLS = {
    "rnn_tanh": Row(RNNCell(H)),
    "rnn_relu": Row(RNNCell(H, activation="relu"), FAST),
    "lstm": Row(LSTMCell(H)),
    "lstm_forget_bias_0": Row(LSTMCell(H, forget_bias=0.0), SLOW),
    "gru": Row(GRUCell(H)),
    "linear_rnn": Row(LinearRNNCell(H), FAST),
    "leaky": Row(LeakyCell(H)),
    "irnn": Row(IRNNCell(H), SLOW),
    "indrnn": Row(IndRNNCell(H, activation="tanh"), FAST),
    "peephole": Row(PeepholeLSTMCell(H), FAST),
    "projected": Row(ProjectedLSTMCell(H, projection=2), FAST),
    "coupled": Row(CoupledLSTMCell(H), FAST),
    "slstm": Row(SLSTMCell(H), FAST),
    "gru_reset_before": Row(ResetBeforeGRUCell(H), SLOW),
    "minimal": Row(MinimalGatedCell(H), ("chunked", "remat")),
    "ugrnn": Row(UGRNNCell(H), FAST),
    "antisymmetric": Row(AntisymmetricRNNCell(H), FAST),
    "cornn": Row(CoRNNCell(H), FAST),
    "dale": Row(CTRNNCell(H, excitatory=0.7, activation="tanh"), FAST),
    "lem": Row(LEMCell(H), SLOW),
    "lmu": Row(LMUCell(H, window=6.0), SLOW),
    "conv_lstm": Row(ConvLSTMCell(H), FAST),
    "lru": Row(LRUCell(H), ("chunked", "associative")),
    "s5": Row(S5Cell(H), ("associative",)),
    "mingru": Row(MinGRUCell(H), ("scan", "associative")),
    "signed_mingru": Row(MinGRUCell(H, a_min=-1.0), ("associative",)),
    "minlstm": Row(MinLSTMCell(H), ("associative",)),
    "rglru": Row(RGLRUCell(H), ("associative",)),
    "deltanet": Row(DeltaNetCell(4, heads=2, negative_eigenvalues=True), FAST),
    "gated_deltanet": Row(GatedDeltaNetCell(H), SLOW),
    "mlstm": Row(MLSTMCell(4, heads=2), FAST),
    "zoneout": Row(zoneout(LSTMCell(H), 0.1, 0.4), FAST),
    "zoneout_of_a_step": Row(zoneout(ResetBeforeGRUCell(H), 0.2), SLOW),
    "normed": Row(layer_norm(learned_carry(LSTMCell(5))), FAST),
    "orthogonal": Row(orthogonal_recurrence(GRUCell(H)), FAST),
    "cayley_of_a_step": Row(orthogonal_recurrence(ResetBeforeGRUCell(H), "cayley"), SLOW),
    "unbiased": Row(unbiased(GRUCell(H)), FAST),
    "learned_carry_of_a_step": Row(learned_carry(ResetBeforeGRUCell(H)), SLOW),
}

TELLING = ("lstm", "leaky", "gru_reset_before")
"""Representative rows: a carry of two fields; parameters in every part; only a step."""

FLOWING = (
    *("rnn_tanh", "rnn_relu", "lstm", "gru", "linear_rnn", "leaky", "minimal", "cornn", "lru"),
    "gru_reset_before",
)
"""Rows whose gradients, Jacobians and exponents are looked at: every kind of carry and of step."""

LENGTHS = {"chunked": (1, 16)}
"""T for comparisons of drivers with a loop, besides 7: less than a chunk, whole chunks."""


def _pairs(names):
    return [(name, CELLS[name].cell, driver) for name in names for driver in CELLS[name].drivers]


every_cell = pytest.mark.parametrize(
    "cell", [pytest.param(row.cell, id=name) for name, row in CELLS.items()]
)
flowing_cell = pytest.mark.parametrize(
    "cell", [pytest.param(CELLS[name].cell, id=name) for name in FLOWING]
)
telling_cell = pytest.mark.parametrize(
    "cell", [pytest.param(CELLS[name].cell, id=name) for name in TELLING]
)
telling_driver = pytest.mark.parametrize(
    "cell, driver", [pytest.param(*pair, id=f"{name}-{pair[1]}") for name, *pair in _pairs(TELLING)]
)
telling_length = pytest.mark.parametrize(
    "cell, driver, steps",
    [
        pytest.param(*pair, steps, id=f"{name}-{pair[1]}-T{steps}")
        for name, *pair in _pairs(TELLING)
        for steps in LENGTHS.get(pair[1], ())
    ],
)
