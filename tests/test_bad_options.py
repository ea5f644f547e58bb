"""Errors for wrong options: expected, got, what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H
from mistakes import KEY, RUN, XS, assert_error, call, case, zeros

from rnn_jax import (
    CELLS,
    ConvLSTMCell,
    LRUCell,
    LSTMCell,
    MinGRUCell,
    RNNCell,
    gate_activations,
    unbiased,
    unroll,
    unroll_carries,
)
from rnn_jax.initializers import parse_init
from rnn_jax.testing.oracle import B, D, T, problem

pytestmark = pytest.mark.usefixtures("unchecked")

EVERY = np.ones((T, B), bool)
MINGRU = {"cell": MinGRUCell(H), "params": problem(MinGRUCell(H), dtype=np.float32).params}
CONV = {"cell": ConvLSTMCell(H), "params": problem(ConvLSTMCell(H), dtype=np.float32).params}

TABLE = {
    unroll: [
        case("mask must be boolean", "(7, 4)", "bool of shape (4,)", mask=EVERY[0]),
        case("mask must be boolean", "float32 of shape (7, 4)", mask=XS[..., 0]),
        case("mask must be boolean", "int64 of shape (7, 4)", mask=(EVERY * 1).tolist()),
        case("mask must be boolean", "of shape (7, 4, 1)", mask=EVERY[..., None]),
        case("mask must be boolean", "got <U1 of shape ()", mask="1"),
        case("lengths and mask", "give one of them", mask=EVERY, lengths=[T] * B),
        case("resets must be boolean", "(7, 4)", "of shape (4, 7)", resets=EVERY.T),
        case("resets must be boolean", "got int32", resets=EVERY.astype(np.int32)),
        case("resets must be boolean", "of shape ()", resets=True),
        case("key must be one key", "got 0", key=0),
        case("key must be one key", "got 'a'", key="a"),
        case("key must be one key", "key<fry>[2]", key=jax.random.split(KEY)),
        case("tbptt_steps must be", "got 0", tbptt_steps=0),
        case("tbptt_steps must be", "got 2.5", tbptt_steps=2.5),
        case("tbptt_steps must be", "got True", tbptt_steps=True),
        case(
            "scan, chunked, associative, newton, parallel_backward, fused, cudnn",
            "got 'Newton'",
            driver="Newton",
        ),
        case("associative driver needs a LinearCell", "got LSTMCell", driver="associative"),
        case(
            "newton driver needs a cell without", **CONV, xs=zeros(T, 1, 2, 3, D), driver="newton"
        ),
        case("ConvLSTMCell must have 2 spatial axes", "(7, 4, 2)", **CONV),
        case("must be [T, ..., D]", **CONV, xs=XS[:, 0, 0]),
    ],
    gate_activations: [
        case("mask must be boolean", "of shape (4,)", mask=EVERY[0]),
        case("resets must be boolean", "of shape (4,)", resets=EVERY[0]),
    ],
    unroll_carries: [
        case("has 5 features", xs=np.zeros((T, B, 5), np.float32)),
        case("lengths and mask", mask=EVERY, lengths=[T] * B),
    ],
}


@pytest.mark.parametrize(
    "function, words, changes",
    [
        pytest.param(function, *row, id=f"{function.__name__}-{row[0][-1]}-{n}")
        for function, rows in TABLE.items()
        for n, row in enumerate(rows)
    ],
)
def test_a_wrong_option_is_an_input_error(function, words, changes):
    assert_error(words, function, **RUN | changes)


@pytest.mark.parametrize(
    "cell, init, words",
    [
        (LSTMCell(H), "gain", ["init must be one of", "e.g. gain=0.9", "got 'gain'"]),
        (LSTMCell(H), "chrono=2", ["longest must be at least 3 steps", "got 2"]),
        (LSTMCell(H), "chrono=inf", ["longest must be a number", "finite in float32, got inf"]),
        (LSTMCell(H), "chrono=1e300", ["longest must be a number", "got 1e+300"]),
        (LSTMCell(H), "gain=nan", ["gain must be a number", "finite in float32, got nan"]),
        (LSTMCell(H), "forget=-inf", ["bias must be a number", "finite in float32, got -inf"]),
        (unbiased(LSTMCell(H)), "forget=1", ["sets b", "GatedParams does not have"]),
        (unbiased(LSTMCell(H)), "chrono=9", ["sets b", "GatedParams does not have"]),
        (ConvLSTMCell(H), "identity", ["makes w_h of shape (3, 12)", "has one of shape (3, 3, 3"]),
        (CELLS["projected"](4), "orthogonal", ["w_h of shape (4, 16)", "of shape (2, 16)"]),
        (CELLS["cornn"](H), "identity", ["w_h of shape (3, 3)", "of shape (6, 3)"]),
        (RNNCell(H), "forget=1", ["ForgetBias sets the bias", "RNNCell names none"]),
        (RNNCell(H), "chrono=9", ["Chrono sets the bias", "RNNCell names none"]),
        (LRUCell(H), "orthogonal", ["sets w_h", "LRUParams does not have", "choose another"]),
        (MinGRUCell(H), "uniform", ["sets w_h", "LinearParams does not have"]),
    ],
)
def test_an_init_that_does_not_fit_a_cell_is_an_input_error(cell, init, words):
    assert_error(words, lambda: parse_init(init)(cell, KEY, D))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: LRUCell(H, radii=(0.9, 0.5)), "0 <= low < high <= 1, got (0.9, 0.5)"),
        (lambda: LRUCell(H, radii=(0.9, 1.5)), "got (0.9, 1.5)"),
        (lambda: ConvLSTMCell(H, kernel_size=2), "kernel_size must be odd, got 2"),
        (lambda: ConvLSTMCell(H, kernel_size=0), "kernel_size must be a positive integer"),
        (lambda: CELLS["projected"](H, projection=0), "projection must be a positive integer"),
    ],
)
def test_a_wrong_cell_option_is_an_input_error(make, words):
    assert_error([words], make)


def test_masks_may_be_lists():
    last, ys = call(unroll, mask=EVERY.tolist(), resets=(~EVERY).tolist())
    want, want_ys = call(unroll)
    jax.tree.map(np.testing.assert_array_equal, (last, ys), (want, want_ys))


def test_a_legacy_key_is_accepted():
    assert jnp.all(jnp.isfinite(call(unroll, key=jax.random.PRNGKey(0))[1]))
