"""`check_cell` names the failed checks of a broken cell and passes a correct one."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import LinearRNNCell

from rnn_jax import (
    DeltaNetCell,
    HiddenCarry,
    InputError,
    LSTMCell,
    MinimalGatedCell,
    ResetBeforeGRUCell,
    RNNCell,
)
from rnn_jax.cells.base import dot
from rnn_jax.cells.lstm import LSTMCarry
from rnn_jax.testing import CHECKS, VALUE_CHECKS, ContractError, check_cell
from rnn_jax.testing.oracle import assert_close, assert_same, drivers_for

pytestmark = pytest.mark.usefixtures("unchecked")


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


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: type(broken.cell).__name__)
def test_failed_checks_are_named(broken):
    with pytest.raises(ContractError) as caught:
        check_cell(broken.cell, drivers=broken.drivers)
    message = str(caught.value)
    assert repr(broken.cell) in message
    for words in broken.words:
        assert words in message


def test_run_checks_are_skipped_if_value_checks_fail():
    with pytest.raises(ContractError) as caught:
        check_cell(PlainCarry(2))
    failed = [line for line in str(caught.value).splitlines() if line.startswith("- ")]
    assert all(any(name in line for name in VALUE_CHECKS) for line in failed)
    assert "were skipped" in str(caught.value)


def test_a_correct_cell_passes_at_other_sizes_too():
    assert check_cell(MinimalGatedCell(5), drivers=["chunked"], features=1) == tuple(CHECKS)


def test_a_cell_with_only_a_step_is_checked_with_scan():
    assert drivers_for(ResetBeforeGRUCell(2)) == ("scan",)
    assert drivers_for(LSTMCell(2)) == ("scan", "chunked", "remat")


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("needs a cell", {"cell": LSTMCell}),
        ("supports the drivers scan; got 'chunked'", {"cell": ResetBeforeGRUCell(2)}),
        ("features must be a positive whole number", {"cell": LSTMCell(2), "features": 0}),
    ],
)
def test_invalid_arguments_are_errors(words, arguments):
    with pytest.raises(InputError, match=words):
        check_cell(**{"drivers": ("chunked",), **arguments})


@pytest.mark.parametrize("check", [assert_close, assert_same])
def test_differences_are_named_largest_first(check):
    want = {"a": np.zeros(3), "b": HiddenCarry(np.zeros((2, 2))), "c": np.zeros(1)}
    got = {"a": np.array([0, 0.5, 0]), "b": HiddenCarry(np.full((2, 2), -2.0)), "c": np.ones(1)}
    check(want, want)
    with pytest.raises(AssertionError) as caught:
        check(got, want)
    assert str(caught.value) == "b.h is off by up to 2; c is off by up to 1; 1 more"


@pytest.mark.parametrize(
    "words, got",
    [
        ("is off by up to nan", np.array([np.nan, 0])),
        ("has shape", np.zeros(3)),
        ("tree", (np.zeros(2),)),
        ("float32, expected float64", np.zeros(2, np.float32)),
    ],
)
def test_nan_shape_tree_and_dtype_differences_are_found(words, got):
    with pytest.raises(AssertionError, match=words):
        assert_same(got, np.zeros(2))
