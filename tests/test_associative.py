"""The associative driver and its linear scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax import (
    LRUCell,
    MinGRUCell,
    MinLSTMCell,
    RGLRUCell,
    layer_norm,
    learned_carry,
    unroll,
)
from rnn_jax.drivers.associative import linear_scan
from rnn_jax.testing.oracle import assert_close, loop, problem, run_back

pytestmark = pytest.mark.usefixtures("float64")

LENGTHS = np.array([0, 3, 7, 5], np.int32)


@pytest.mark.parametrize(
    "cell",
    [LRUCell(H), MinLSTMCell(H), RGLRUCell(H), layer_norm(learned_carry(MinGRUCell(H)))],
    ids=["lru", "minlstm", "rglru", "wrapped"],
)
def test_values_and_gradients_with_lengths_are_those_of_scan(cell):
    point = problem(cell)
    drivers = ("associative", "scan")
    got, want = (run_back(cell, *point, driver=d, lengths=LENGTHS) for d in drivers)
    assert_close(got, want)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_any_number_of_steps_runs(steps):
    cell = LRUCell(H)
    point = problem(cell, steps)
    got, want = (run_back(cell, *point, driver=d) for d in ("associative", "scan"))
    assert_close(got, want)


@settings(max_examples=8)
@given(seed=st.integers(0, 99), is_complex=st.booleans())
def test_a_linear_scan_equals_a_loop(seed, is_complex, float64):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape) + (1j * rng.normal(size=shape) if is_complex else 0)

    a, b, state = draw(5, 2), draw(5, 2), draw(2)
    got = linear_scan(*(jnp.asarray(array) for array in (a, b, state)))
    for t in range(5):
        state = a[t] * state + b[t]
        assert_close(got[t], state)


def test_the_linear_scan_of_complex_numbers_has_the_gradient_of_a_loop():
    rng = np.random.default_rng(0)
    given = [jnp.asarray(rng.normal(size=(5, 2)) + 1j * rng.normal(size=(5, 2))) for _ in "ab"]
    given.append(given[0][0] + 1)

    def step(state, coefficients):
        a, b = coefficients
        state = a * state + b
        return state, state

    def looped(a, b, start):
        return jax.lax.scan(step, start, (a, b))[1]

    def height(scan):
        return jax.jit(jax.grad(lambda *g: (scan(*g) ** 2).real.sum(), argnums=(0, 1, 2)))

    assert_close(height(linear_scan)(*given), height(looped)(*given))


def test_a_64_bit_carry_with_32_bit_inputs_keeps_its_dtype():
    cell = MinGRUCell(H)
    params, xs, *_ = problem(cell, dtype=jnp.float32)
    carry = problem(cell).carry
    last, ys = unroll(cell, params, xs, carry, driver="associative")
    assert last.h.dtype == ys.dtype == jnp.float64
    assert_close((last, ys), loop(cell, params, np.asarray(xs, np.float64), carry), 1e-6)
