"""Sequences of different lengths in one batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, DRIVERS, H, T, telling_driver
from hypothesis import given
from hypothesis import strategies as st
from oracle import B, assert_close, assert_same, loop, loop_back, problem, run, run_back

from rnn_jax import LSTMCell, gate_activations, unroll
from rnn_jax.masking import keep_mask

LENGTHS = np.array([0, 3, 7, 5], np.int32)
PADDING = np.arange(T)[:, None] >= LENGTHS


def each_alone(cell, params, xs, carry, cotangents):
    """Values and gradients as a sum of turns: in each, one sequence counts and runs its length."""
    turns = []
    for turn, length in enumerate(LENGTHS):

        def mine(tree, turn=turn):
            return jax.tree.map(lambda leaf: leaf * (np.arange(B) == turn)[:, None], tree)

        def padded(array, length=length):
            return np.pad(array, ((0, T - length), (0, 0), (0, 0)))

        d_last, d_ys = cotangents
        (last, ys), (d_params, d_xs, d_carry) = loop_back(
            cell, params, xs[:length], carry, mine((d_last, d_ys[:length]))
        )
        turns.append(((mine(last), padded(mine(ys))), (d_params, padded(d_xs), d_carry)))
    return jax.tree.map(lambda *parts: sum(parts), *turns)


@telling_driver
def test_values_and_gradients_of_a_ragged_batch_are_those_of_each_sequence_alone(
    cell, driver, float64
):
    given = problem(cell)
    got = run_back(cell, *given, lengths=LENGTHS, driver=driver)
    assert_close(got, each_alone(cell, *given))


@telling_driver
def test_nan_in_padding_reaches_neither_values_nor_gradients(cell, driver, float64):
    params, xs, carry, (d_last, d_ys) = problem(cell)

    def fill(value):
        given = xs.at[PADDING].set(value), carry, (d_last, d_ys.at[PADDING].set(value))
        return run_back(cell, params, *given, lengths=LENGTHS, driver=driver)

    assert_same(fill(jnp.nan), fill(0))


@telling_driver
def test_padding_has_zero_outputs_and_exactly_zero_gradients(cell, driver, float64):
    (_, ys), (_, d_xs, _) = run_back(cell, *problem(cell), lengths=LENGTHS, driver=driver)
    assert not np.any(ys[PADDING])
    assert not np.any(d_xs[PADDING])
    assert np.any(d_xs[~PADDING])


@telling_driver
def test_length_zero_returns_the_initial_carry_and_its_cotangent(cell, driver, float64):
    params, xs, carry, cotangents = problem(cell)
    none = np.zeros_like(LENGTHS)
    values, gradients = run_back(cell, params, xs, carry, cotangents, lengths=none, driver=driver)
    assert_same(values, (carry, jnp.zeros_like(values[1])))
    zeros = jax.tree.map(jnp.zeros_like, (params, xs))
    assert_same(gradients, (*zeros, cotangents[0]))


@telling_driver
def test_full_lengths_change_nothing(cell, driver, float64):
    given = problem(cell)
    full = np.full_like(LENGTHS, T)
    assert_close(
        run_back(cell, *given, lengths=full, driver=driver), run_back(cell, *given, driver=driver)
    )


@telling_driver
def test_under_jit_lengths_out_of_range_count_as_the_nearest_in_range(cell, driver, float64):
    given = problem(cell)
    beyond, nearest = np.array([-2, 3, T + 1, 5]), np.array([0, 3, T, 5])
    got, want = (
        run_back(cell, *given, lengths=lengths.astype(np.int32), driver=driver)
        for lengths in (beyond, nearest)
    )
    assert_same(got, want)


@given(
    row=st.sampled_from(list(CELLS.values())),
    lengths=st.lists(st.integers(0, T), min_size=B, max_size=B),
)
def test_any_lengths_give_the_values_of_each_sequence_alone(row, lengths):
    with jax.enable_x64(True):
        cell, lengths = row.cell, np.array(lengths, np.int32)
        params, xs, carry, _ = problem(cell)
        last, ys = run(cell, params, xs, carry, lengths=lengths, driver="plain")
        for i, length in enumerate(lengths):
            want = loop(cell, params, xs[:length], carry)
            (got_last, want_last) = jax.tree.map(lambda h, i=i: h[i], (last, want[0]))
            assert_close((got_last, ys[:length, i]), (want_last, want[1][:, i]))


def test_lengths_have_the_batch_dimensions_of_xs(float64):
    cell = LSTMCell(H)
    params, xs, carry, _ = problem(cell)
    last, ys = run(cell, params, xs, carry, lengths=LENGTHS, driver="chunked")

    of_one, last_of_one = jax.tree.map(lambda h: h[2], (carry, last))
    one = run(cell, params, xs[:, 2], of_one, lengths=LENGTHS[2], driver="chunked")
    assert_close(one, (last_of_one, ys[:, 2]))

    carry, last, ys, xs = jax.tree.map(
        lambda leaf: leaf.reshape(*leaf.shape[:-2], 2, 2, leaf.shape[-1]), (carry, last, ys, xs)
    )
    square = run(cell, params, xs, carry, lengths=LENGTHS.reshape(2, 2), driver="chunked")
    assert_close(square, (last, ys))


@pytest.mark.parametrize("driver", CELLS["lstm"].drivers)
def test_lengths_can_be_mapped_over(driver, float64):
    cell = LSTMCell(H)
    params, xs, carry, cotangents = problem(cell)
    want, _ = run_back(cell, params, xs, carry, cotangents, lengths=LENGTHS, driver=driver)

    def one(x, carry, length):
        return unroll(cell, params, x, carry, lengths=length, **DRIVERS[driver].options)

    mapped = jax.jit(jax.vmap(one, in_axes=(1, 0, 0), out_axes=(0, 1)))
    assert_close(mapped(xs, carry, LENGTHS), want)


def test_keep_is_true_before_the_length_of_each_sequence():
    keep = keep_mask(jnp.array([[0, 2], [3, 1]]), 3)
    want = [[[False, True], [True, True]], [[False, True], [True, False]]]
    np.testing.assert_array_equal(keep, [*want, [[False, False], [True, False]]])


def test_gates_are_zero_in_padding_and_unchanged_before():
    cell = LSTMCell(H)
    params, xs, carry, _ = problem(cell, dtype=jnp.float32)
    ragged = gate_activations(cell, params, xs, carry, lengths=jnp.array(LENGTHS))
    whole = gate_activations(cell, params, xs, carry)
    assert tuple(ragged) == cell.gates
    for name in cell.gates:
        assert_close(ragged[name], np.where(PADDING[..., None], 0, whole[name]), 1e-6)
