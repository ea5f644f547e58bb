"""The table of cells: a new cell adds one row to CELLS and inherits the whole contract suite."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import pytest
from jax.nn import sigmoid
from jax.numpy import tanh

from rnn_jax import Cell, GatedCell, GRUCell, HiddenCarry, LSTMCell, RNNCell
from rnn_jax.cell import dot
from rnn_jax.typing import Array

H = 3


@dataclasses.dataclass(frozen=True)
class LinearRNNCell(GatedCell):
    """Linear: h' = x w_x + b + h w_h."""

    gates = ("h",)

    def update(self, params, carry, x_gates, h_gates):
        return HiddenCarry(h=x_gates + h_gates)


@dataclasses.dataclass(frozen=True)
class MinimalCell(GatedCell):
    """One gate for reset and keep: f = sigmoid(...), n = tanh(x + f h), h' = (1 - f) h + f n."""

    gates = ("f", "n")

    def activations(self, params, carry, x_gates, h_gates):
        (x_f, x_n), (h_f, h_n) = self.split(x_gates), self.split(h_gates)
        f = sigmoid(x_f + h_f)
        return f, tanh(x_n + f * h_n)

    def update(self, params, carry, x_gates, h_gates):
        f, n = self.activations(params, carry, x_gates, h_gates)
        return HiddenCarry(h=(1 - f) * carry.h + f * n)


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
        zeros = jnp.zeros(self.hidden_size, jnp.float32)
        return LeakyParams(*super().init(key, input_size), b_h=zeros, leak=zeros, gain=zeros + 1)

    def mix(self, params, carry):
        return super().mix(params, carry) + params.b_h

    def update(self, params, carry, x_gates, h_gates):
        change = tanh(x_gates + h_gates) - carry.h
        return HiddenCarry(h=carry.h + sigmoid(params.leak) * change)

    def readout(self, params, carry):
        return params.gain * carry.h


@dataclasses.dataclass(frozen=True)
class ResetFirstCell(Cell):
    """The GRU of the paper, reset before the product: two dependent products a step."""

    def init(self, key, input_size):
        return GRUCell(self.hidden_size).init(key, input_size)

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(h=jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def step(self, params, carry, x):
        x_r, x_z, x_n = jnp.split(dot(x, params.w_x) + params.b, 3, axis=-1)
        w_r, w_z, w_n = jnp.split(params.w_h, 3, axis=-1)
        r, z = sigmoid(x_r + dot(carry.h, w_r)), sigmoid(x_z + dot(carry.h, w_z))
        n = tanh(x_n + dot(r * carry.h, w_n) + params.b_h)
        h = (1 - z) * n + z * carry.h
        return HiddenCarry(h), h


class Row(NamedTuple):
    cell: Cell
    drivers: tuple[str, ...] = ("plain", "chunked")


CELLS = {
    "rnn_tanh": Row(RNNCell(H)),
    "rnn_relu": Row(RNNCell(H, activation="relu"), drivers=("chunked",)),
    "lstm": Row(LSTMCell(H)),
    "lstm_forget_bias_0": Row(LSTMCell(H, forget_bias=0.0), drivers=("plain",)),
    "gru": Row(GRUCell(H)),
    "linear": Row(LinearRNNCell(H), drivers=("chunked",)),
    "minimal": Row(MinimalCell(H), drivers=("chunked", "remat")),
    "leaky": Row(LeakyCell(H)),
    "reset_first": Row(ResetFirstCell(H), drivers=("plain",)),
}

TELLING = ("lstm", "leaky", "reset_first")
"""Rows that stand for all: two fields to carry; parameters in every part; nothing but a step."""

LENGTHS = {"chunked": (1, 16)}
"""T at which a driver is held against a loop besides 7: less than a chunk, nothing but chunks."""


def _pairs(names):
    return [(name, CELLS[name].cell, driver) for name in names for driver in CELLS[name].drivers]


every_cell = pytest.mark.parametrize(
    "cell", [pytest.param(row.cell, id=name) for name, row in CELLS.items()]
)
every_driver = pytest.mark.parametrize(
    "cell, driver", [pytest.param(*pair, id=f"{name}-{pair[1]}") for name, *pair in _pairs(CELLS)]
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
