"""What holds for every cell in the table."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, DRIVERS, H, T, every_cell, every_driver, telling_driver
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import B, D, assert_close, assert_same, inner, loop, loop_back, problem, run, run_back

from rnn_jax import GatedCell, unroll


def is_named_tuple(value):
    return isinstance(value, tuple) and hasattr(value, "_fields")


def as_type(dtype, tree):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def dtypes(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


@every_cell
def test_params_are_a_named_tuple_of_the_design_shapes(cell):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), D))
    assert is_named_tuple(params)
    if isinstance(cell, GatedCell):
        gates = len(cell.gates)
        assert params.w_x.shape == (D, gates * H)
        assert params.w_h.shape == (H, gates * H)
        assert params.b.shape == (gates * H,)
        assert cell.input_size(params) == D


@every_cell
def test_params_are_float32_even_where_64_bits_are_enabled(cell, float64):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), D))
    assert dtypes(params) == {jnp.dtype(jnp.float32)}


@every_cell
@pytest.mark.parametrize("batch", [(), (B,), (2, 0, 3)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_initial_carry_is_a_named_tuple_with_h_units_for_each_sequence(cell, batch, dtype):
    carry = cell.initial_carry(batch, dtype)
    assert is_named_tuple(carry)
    assert {(leaf.shape, leaf.dtype) for leaf in carry} == {((*batch, H), jnp.dtype(dtype))}


@every_cell
def test_a_cell_is_a_frozen_value(cell):
    twin = dataclasses.replace(cell)
    assert twin is not cell
    assert twin == cell
    assert hash(twin) == hash(cell)
    assert dataclasses.replace(cell, hidden_size=H + 1) != cell
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 1


def test_cells_of_different_rows_differ():
    assert len({row.cell for row in CELLS.values()}) == len(CELLS)


@every_driver
def test_values_and_gradients_of_two_halves_are_those_of_the_whole(cell, driver, float64):
    params, xs, carry, (d_last, d_ys) = problem(cell, steps=2 * T)
    whole = loop_back(cell, params, xs, carry, (d_last, d_ys))
    half = partial(run_back, cell, params, driver=driver)

    (middle, head), _ = half(xs[:T], carry, (d_last, d_ys[:T]))
    (last, tail), (d_params, d_tail, d_middle) = half(xs[T:], middle, (d_last, d_ys[T:]))
    _, (d_head_params, d_head, d_carry) = half(xs[:T], carry, (d_middle, d_ys[:T]))

    d_params = jax.tree.map(jnp.add, d_params, d_head_params)
    ys, d_xs = jnp.concatenate([head, tail]), jnp.concatenate([d_head, d_tail])
    assert_close(((last, ys), (d_params, d_xs, d_carry)), whole)


@every_driver
def test_outputs_before_t_do_not_see_inputs_from_t_on(cell, driver, float64):
    t = 3
    params, xs, carry, cotangents = problem(cell)
    (_, ys), _ = run_back(cell, params, xs, carry, cotangents, driver=driver)
    later = xs.at[t:].add(1)
    (_, changed), _ = run_back(cell, params, later, carry, cotangents, driver=driver)
    assert_same(changed[:t], ys[:t])
    assert np.any(changed[t] != ys[t])


@every_driver
def test_the_gradient_of_y_t_by_later_inputs_is_exactly_zero(cell, driver, float64):
    t = 3
    params, xs, carry, cotangents = problem(cell)
    d_carry, d_ys = jax.tree.map(jnp.zeros_like, cotangents)
    cotangents = d_carry, d_ys.at[t].set(1)
    _, (_, d_xs, _) = run_back(cell, params, xs, carry, cotangents, driver=driver)
    assert_same(d_xs[t + 1 :], jnp.zeros_like(d_xs[t + 1 :]))
    assert all(np.any(d_x != 0) for d_x in d_xs[: t + 1])


@every_driver
def test_gradients_agree_with_finite_differences(cell, driver, float64):
    *point, cotangents = problem(cell)
    *direction, _ = problem(cell, seed=1)
    step = 1e-5

    def height(distance):
        moved = jax.tree.map(lambda p, d: p + distance * d, point, direction)
        values, _ = run_back(cell, *moved, cotangents, driver=driver)
        return inner(values, cotangents)

    _, gradients = run_back(cell, *point, cotangents, driver=driver)
    slope = (height(step) - height(-step)) / (2 * step)
    np.testing.assert_allclose(inner(gradients, tuple(direction)), slope, rtol=1e-7)


@every_driver
def test_an_equal_cell_and_new_values_compile_nothing(cell, driver, float64, compilations):
    first, second = problem(cell), problem(cell, seed=1)
    run_back(cell, *first, driver=driver)
    compilations.clear()
    run_back(dataclasses.replace(cell), *second, driver=driver)
    assert not compilations


@telling_driver
def test_bfloat16_weights_give_float32_values_close_to_the_exact_ones(cell, driver, float64):
    params, xs, carry, cotangents = problem(cell)
    exact, _ = run_back(cell, params, xs, carry, cotangents, driver=driver)
    got = run(
        cell, as_type(jnp.bfloat16, params), *as_type(jnp.float32, (xs, carry)), driver=driver
    )
    assert dtypes(got) == {jnp.dtype(jnp.float32)}
    assert_close(got, exact, 0.05)


@every_driver
def test_bfloat16_throughout_still_carries_float32(cell, driver):
    params, xs, carry, _ = problem(cell, dtype=jnp.bfloat16)
    got = jax.eval_shape(partial(unroll, cell, **DRIVERS[driver].options), params, xs, carry)
    assert dtypes(got) == {jnp.dtype(jnp.float32)}


@telling_driver
def test_no_steps_return_the_initial_carry_and_no_gradient(cell, driver, float64):
    params, xs, carry, cotangents = problem(cell, steps=0)
    values, gradients = run_back(cell, params, xs, carry, cotangents, driver=driver)
    assert_same(values, (carry, jnp.zeros((0, B, H))))
    assert_same(gradients, (jax.tree.map(jnp.zeros_like, params), xs, cotangents[0]))


@telling_driver
def test_an_empty_batch_returns_an_empty_batch_and_no_gradient(cell, driver, float64):
    params, xs, carry, cotangents = problem(cell, batch=(0,))
    values, gradients = run_back(cell, params, xs, carry, cotangents, driver=driver)
    assert_same(values, (carry, jnp.zeros((T, 0, H))))
    assert_same(gradients, (jax.tree.map(jnp.zeros_like, params), xs, carry))


@every_cell
def test_a_sequence_runs_alone_as_in_a_batch(cell, float64):
    params, xs, carry, _ = problem(cell)
    last, ys = loop(cell, params, xs, carry)
    carry, last = jax.tree.map(lambda h: h[0], (carry, last))
    assert_close(run(cell, params, xs[:, 0], carry, driver="plain"), (last, ys[:, 0]))


@telling_driver
def test_several_batch_dimensions_run_as_one(cell, driver, float64):
    params, xs, carry, _ = problem(cell)
    last, ys = loop(cell, params, xs, carry)
    carry, last = jax.tree.map(lambda h: h.reshape(2, 2, H), (carry, last))
    square = run(cell, params, xs.reshape(T, 2, 2, D), carry, driver=driver)
    assert_close(square, (last, ys.reshape(T, 2, 2, H)))


@settings(max_examples=8)
@given(
    row=st.sampled_from(list(CELLS.values())),
    steps=st.integers(0, 9),
    batch=st.lists(st.integers(0, 3), max_size=2),
    features=st.integers(1, 3),
    hidden_size=st.integers(1, 4),
    data=st.data(),
)
def test_any_sizes_run_whole_or_in_parts(row, steps, batch, features, hidden_size, data):
    driver, split = data.draw(st.sampled_from(row.drivers)), data.draw(st.integers(0, steps))
    with jax.enable_x64(True):
        cell = dataclasses.replace(row.cell, hidden_size=hidden_size)
        params, xs, carry, _ = problem(cell, steps, tuple(batch), features)
        whole = run(cell, params, xs, carry, driver=driver)
        carry, head = run(cell, params, xs[:split], carry, driver=driver)
        carry, tail = run(cell, params, xs[split:], carry, driver=driver)
        assert whole[1].shape == (steps, *batch, hidden_size)
        assert_close((carry, jnp.concatenate([head, tail])), whole)
