"""Long-term Jacobians, compared with explicit products, and beyond the range of floats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, LinearRNNCell, flowing_cell
from explicit import jacobians

from rnn_jax import GRUCell, InputError, LSTMCell
from rnn_jax.analysis.jacobians import long_term_jacobians
from rnn_jax.cells.base import GatedParams
from rnn_jax.testing.oracle import B, T, problem

jacobians_of = jax.jit(long_term_jacobians, static_argnums=0, static_argnames="every")


def log10_largest(matrices):
    return np.log10(np.maximum(np.linalg.norm(matrices, 2, axis=(-2, -1)), 1e-300))


def linear(matrix, dtype):
    size = len(matrix)
    zeros = jnp.zeros((1, size), dtype)
    return LinearRNNCell(size), GatedParams(zeros, jnp.asarray(matrix, dtype), zeros[0])


@flowing_cell
def test_the_largest_singular_value_is_that_of_the_product_of_jacobians(cell, float64):
    p = problem(cell)
    steps = jacobians(cell, p.params, p.xs, p.carry)
    got = jacobians_of(cell, p.params, p.xs, p.carry)
    product = np.broadcast_to(np.eye(steps.shape[-1]), steps.shape[1:])
    for t in range(T, -1, -1):
        largest = np.maximum(got.largest[t], -300)
        np.testing.assert_allclose(largest, log10_largest(product), atol=1e-12)
        product = product @ steps[t - 1]
    np.testing.assert_array_equal(got.steps, np.arange(T + 1))


@flowing_cell
def test_the_smallest_singular_value_is_that_of_the_product_of_inverses(cell, float64):
    if cell == CELLS["rnn_relu"].cell:
        pytest.skip("a unit of it that is off makes the Jacobian singular")
    p = problem(cell, steps=4, seed=3)
    steps = jacobians(cell, p.params, p.xs, p.carry)
    got = jacobians_of(cell, p.params, p.xs, p.carry)
    inverse = np.broadcast_to(np.eye(steps.shape[-1]), steps.shape[1:])
    for t in range(4, -1, -1):
        worst = np.max(np.linalg.cond(steps[t - 1 :]))
        np.testing.assert_allclose(got.smallest[t], -log10_largest(inverse), atol=1e-14 * worst)
        inverse = np.linalg.inv(steps[t - 1]) @ inverse
    np.testing.assert_allclose(got.condition, got.largest - got.smallest)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("scales", [(1.2, 0.9, 0.3), (0.5, 0.5, 0.5), (2.0, 1.5, 1.1)])
def test_2048_steps_of_a_linear_rnn_have_the_powers_of_its_eigenvalues(scales, dtype, float64):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    cell, params = linear(turn @ np.diag(scales) @ turn.T, dtype)
    got = jacobians_of(cell, params, jnp.zeros((2048, 2, 1), dtype), every=256)
    distance = 2048 - got.steps[:, None] * np.ones(2)
    rounding = 2048 * np.finfo(dtype).eps
    for value, scale in ((got.largest, scales[0]), (got.smallest, scales[2])):
        want = distance * np.log10(scale)
        np.testing.assert_allclose(value, want, rtol=rounding, atol=rounding)
    assert got.largest.dtype == dtype


def test_float32_has_the_digits_of_float64_over_2048_steps(float64):
    cell = LSTMCell(4)
    p = problem(cell, steps=2048)
    params = jax.tree.map(lambda leaf: leaf / 2, p.params)
    want = jacobians_of(cell, params, p.xs, every=512)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, p.xs))
    got = jacobians_of(cell, *narrow, every=512)
    assert np.min(want.smallest) < -1000
    np.testing.assert_allclose(got.largest, want.largest, rtol=1e-4)
    np.testing.assert_allclose(got.smallest, want.smallest, rtol=1e-2)


def test_every_4_reports_every_fourth_step_from_the_end(float64):
    cell = GRUCell(3)
    p = problem(cell, steps=11)
    all_rows = jacobians_of(cell, p.params, p.xs, p.carry)
    some = jacobians_of(cell, p.params, p.xs, p.carry, every=4)
    np.testing.assert_array_equal(some.steps, [3, 7, 11])
    for field in ("largest", "smallest", "condition"):
        got, want = getattr(some, field), getattr(all_rows, field)
        np.testing.assert_allclose(got, np.array(want)[some.steps], atol=1e-12)
    assert np.all(np.array(some.largest[-1]) == 0)
    assert some.largest.shape == (3, B)


def test_a_singular_step_gives_a_finite_small_value(float64):
    cell, params = linear(np.diag([1.0, 0.0]), jnp.float64)
    got = jacobians_of(cell, params, jnp.zeros((3, 1)))
    np.testing.assert_allclose(got.largest, 0, atol=1e-12)
    assert np.all(np.diff(got.smallest) > 15)
    cell, params = linear(np.zeros((2, 2)), jnp.float64)
    assert np.all(jacobians_of(cell, params, jnp.zeros((3, 1))).largest[:-1] < -300)


@pytest.mark.parametrize("every", [0, 2.0])
def test_every_must_be_a_positive_whole_number(every, unchecked):
    p = problem(GRUCell(3), dtype=jnp.float32)
    with pytest.raises(InputError, match="every must be a positive integer, got"):
        long_term_jacobians(GRUCell(3), p.params, p.xs, every=every)
