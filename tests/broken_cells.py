"""Cells that break one part of the contract each, and the checks that find it."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from cells import LinearRNNCell

from rnn_jax import (
    DeltaNetCell,
    HiddenCarry,
    LSTMCell,
    MinimalGatedCell,
    ResetBeforeGRUCell,
    RNNCell,
)
from rnn_jax.cells.base import dot
from rnn_jax.cells.lstm import LSTMCarry


class PlainCarry(RNNCell):
    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        return (jnp.zeros((*batch_shape, self.hidden_size), dtype),)


class Float32Carry(RNNCell):
    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size)))


class WideParams(RNNCell):
    def init(self, key, input_size):
        params = super().init(key, input_size)
        return params._replace(b=jnp.zeros(self.hidden_size, jnp.float64))


class OneBuffer(LSTMCell):
    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        zeros = jnp.zeros((*batch_shape, self.hidden_size), dtype)
        return LSTMCarry(zeros, zeros)


class ConstantBias(RNNCell):
    """Every call of `init` returns the same array."""

    def init(self, key, input_size):
        return super().init(key, input_size)._replace(b=BIAS)


BIAS = jnp.zeros(2, jnp.float32)


class CompilesItsInit(RNNCell):
    def init(self, key, input_size):
        return jax.jit(lambda: super(CompilesItsInit, self).init(key, input_size))()


class Options:
    """Options compared by identity and not by value."""


@dataclasses.dataclass(frozen=True)
class EqualToNoOther(RNNCell):
    options: Any = None


class Hashless(RNNCell):
    __hash__ = None


class MixesTheBatch(RNNCell):
    def update(self, params, carry, x_gates, h_gates):
        h = jnp.tanh(x_gates + h_gates)
        return HiddenCarry(h - h.mean(axis=0) if h.ndim > 1 else h)


class MixesTheUnits(RNNCell):
    def update(self, params, carry, x_gates, h_gates):
        return HiddenCarry(jax.nn.softmax(x_gates + h_gates))


class LooksAhead(RNNCell):
    def readout(self, params, carry):
        return jnp.flip(carry.h, axis=-3) if carry.h.ndim > 2 else carry.h


class WideFirst(ResetBeforeGRUCell):
    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size + 1), dtype))


class ClaimsToBeElementwise(DeltaNetCell):
    elementwise_update = True


class ClaimsADiagonal(LinearRNNCell):
    """The Jacobian is diagonal within each field alone."""

    carry_type = LSTMCarry
    diagonal_jacobian = True

    def mix(self, params, carry):
        return carry.h[..., :0]

    def update(self, params, carry, x_gates, h_gates):
        c = carry.c + x_gates
        return LSTMCarry(jnp.tanh(c), c)


class CountsItsCalls(ResetBeforeGRUCell):
    """Mutable state outside the carry."""

    def step(self, params, carry, x):
        CALLS.append(x)
        carry, y = super().step(params, carry, x)
        return carry, y * len(CALLS)


CALLS = []


class DropsAGradient(MinimalGatedCell):
    def mix(self, params, carry):
        return dot(carry.h, jax.lax.stop_gradient(params.w_h))


class IgnoresTheDtype(LinearRNNCell):
    def update(self, params, carry, x_gates, h_gates):
        return HiddenCarry(0.5 * np.float64(1) * (x_gates + h_gates))


class TwoSteps(LinearRNNCell):
    """A cell whose `step` differs from its parts."""

    def step(self, params, carry, x):
        return super().step(params, super().step(params, carry, x)[0], x)


class Broken(NamedTuple):
    cell: Any
    drivers: tuple[str, ...]
    words: tuple[str, ...]


BROKEN = [
    Broken(PlainCarry(2), ("scan",), ("initial carry is a named tuple", "is a tuple")),
    Broken(Float32Carry(2), ("scan",), ("initial carry", "expected bfloat16")),
    Broken(WideFirst(2), ("scan",), ("initial carry", "the first field has 3 units, not H = 2")),
    Broken(ClaimsToBeElementwise(2), ("scan",), ("elementwise", "fields of 2 and 4 units")),
    Broken(ClaimsADiagonal(2), ("scan",), ("declared diagonal", "h depends on others of c")),
    Broken(WideParams(2), ("scan",), ("params are float32", "float32 and float64")),
    Broken(
        OneBuffer(2),
        ("scan",),
        ("no two arrays share a buffer", "carry.c shares the buffer of carry.h"),
    ),
    Broken(
        ConstantBias(2),
        ("scan",),
        ("no two arrays share a buffer", "params.b shares the buffer of params.b"),
    ),
    Broken(CompilesItsInit(2), ("scan",), ("a second init", "1 compilations")),
    Broken(EqualToNoOther(2, options=Options()), ("scan",), ("frozen and hashable", "not equal")),
    Broken(Hashless(2), ("scan",), ("frozen and hashable", "unhashable")),
    Broken(MixesTheUnits(2), ("scan",), ("elementwise", "unit 0 changes other units of h")),
    Broken(
        MixesTheBatch(2),
        ("scan",),
        ("the same result alone and in a batch", "each sequence equals a run alone"),
    ),
    Broken(
        LooksAhead(2),
        ("scan", "chunked"),
        (
            "do not depend on inputs from t on. Found: chunked: ys before t = 1 is off",
            "the gradient of y t wrt later inputs is exactly zero. Found: chunked: the gradient",
        ),
    ),
    Broken(CountsItsCalls(2), ("scan",), ("of a python loop", "ys is off by up to")),
    Broken(
        DropsAGradient(2), ("scan",), ("finite differences", "the slope wrt params.w_h is off by")
    ),
    Broken(IgnoresTheDtype(2), ("scan",), ("bfloat16 weights give float32", "float64")),
    Broken(
        TwoSteps(2),
        ("scan", "chunked"),
        ("of a python loop. Found: chunked: the gradient wrt params.w_x is",),
    ),
]
