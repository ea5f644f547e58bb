"""A mistake is answered with what was expected, what came, and what to do."""

from functools import partial

import jax
import numpy as np
import pytest
from cells import H, LinearRNNCell, ResetFirstCell, T
from oracle import B, D, problem

from rnn_jax import (
    GRUCell,
    HiddenCarry,
    InputError,
    LSTMCarry,
    LSTMCell,
    RNNCell,
    gate_activations,
    unroll,
)

pytestmark = pytest.mark.usefixtures("unchecked")


def zeros(*shape):
    return np.zeros(shape, np.float32)


UNROLL = {
    "features": (
        {"xs": zeros(T, B, 5)},
        ["xs has 5 features", "made for 2", "give xs [T, ..., 2]", "input_size=5"],
    ),
    "rank": ({"xs": zeros(5)}, ["[T, ..., D]", "at least 2 dimensions", "(5,)", "xs[None]"]),
    "dtype": ({"xs": np.zeros((T, B, D), np.int32)}, ["int32", "astype('float32')"]),
    "carry_tuple": (
        {"carry": (zeros(B, H), zeros(B, H))},
        ["must be a LSTMCarry", "got a tuple", "cell.initial_carry(batch_shape)"],
    ),
    "carry_of_another_cell": (
        {"carry": HiddenCarry(zeros(B, H))},
        ["must be a LSTMCarry", "got a HiddenCarry", "cell.initial_carry(batch_shape)"],
    ),
    "carry_without_a_field": (
        {"carry": LSTMCarry(None, zeros(B, H))},
        ["must be a LSTMCarry with an array in each field", "got one with other contents"],
    ),
    "carry_shape": (
        {"carry": LSTMCarry(zeros(B, H), zeros(5, H))},
        ["carry.c", f"({B}, {H})", f"xs of shape ({T}, {B}, {D})", f"got (5, {H})"],
    ),
    "lengths_shape": (
        {"lengths": np.array([1, 2, 3])},
        ["whole numbers of shape (4,)", "got int", "of shape (3,)"],
    ),
    "lengths_float": (
        {"lengths": np.array([1.0, 2, 3, 3], np.float32)},
        ["whole numbers of shape (4,)", "got float32"],
    ),
    "lengths_above": ({"lengths": np.array([1, 8, 3, 0])}, ["0 to T = 7", "got 0 to 8"]),
    "lengths_below": ({"lengths": np.array([1, 2, -1, 3])}, ["0 to T = 7", "got -1 to 3"]),
    "driver": ({"driver": "fast"}, ["auto, plain, chunked", "got 'fast'"]),
    "chunk_without_chunked": ({"driver": "plain", "chunk": 4}, ["chunk", "leave them out"]),
    "remat_without_chunked": ({"driver": "plain", "remat": True}, ["remat", "leave them out"]),
    "chunk_of_no_steps": ({"chunk": 0}, ["at least 1", "got 0"]),
    "chunked_without_gates": (
        {"cell": ResetFirstCell(H), "carry": None, "driver": "chunked"},
        ["GatedCell", "ResetFirstCell", "driver='plain'"],
    ),
}

WATCH = {
    "no_gates": (ResetFirstCell(H), ["ResetFirstCell is not a GatedCell"]),
    "no_activations": (
        LinearRNNCell(H),
        ["LinearRNNCell has no `activations`", "write one", "('h',)"],
    ),
}

MAKE = {
    "no_hidden_units": (partial(LSTMCell, 0), ["hidden_size", "positive whole number", "got 0"]),
    "negative_hidden_units": (partial(GRUCell, -3), ["hidden_size", "got -3"]),
    "true_as_hidden_units": (partial(LSTMCell, True), ["hidden_size", "got True"]),
    "half_a_hidden_unit": (partial(RNNCell, 2.5), ["hidden_size", "got 2.5"]),
    "hidden_units_as_text": (partial(RNNCell, "3"), ["hidden_size", "got '3'"]),
    "activation": (partial(RNNCell, 3, "gelu"), ["'tanh' or 'relu'", "got 'gelu'"]),
}


def rows(table):
    return [pytest.param(*row, id=name) for name, row in table.items()]


def assert_told(words, call):
    with pytest.raises(InputError) as told:
        call()
    missing = [word for word in words if word not in str(told.value)]
    assert not missing, str(told.value)


@pytest.mark.parametrize("changes, words", rows(UNROLL))
def test_unroll_says_what_is_wrong_and_what_to_do(changes, words):
    params, xs, carry, _ = problem(LSTMCell(H), dtype=np.float32)
    right = {"cell": LSTMCell(H), "params": params, "xs": xs, "carry": carry}
    assert_told(words, lambda: unroll(**right | changes))


@pytest.mark.parametrize("cell, words", rows(WATCH))
def test_gate_activations_says_why_there_is_nothing_to_watch(cell, words):
    params, xs, *_ = problem(cell, dtype=np.float32)
    assert_told(words, lambda: gate_activations(cell, params, xs))


@pytest.mark.parametrize("make, words", rows(MAKE))
def test_a_cell_that_cannot_be_is_refused(make, words):
    assert_told(words, make)


@pytest.mark.parametrize("input_size", [0, -1, 2.0])
def test_an_input_size_that_is_no_positive_whole_number_is_refused(input_size):
    words = ["input_size", "positive whole number", f"got {input_size!r}"]
    assert_told(words, lambda: LSTMCell(H).init(jax.random.key(0), input_size))


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)
