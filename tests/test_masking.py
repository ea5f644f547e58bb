"""Sequences of different lengths in one batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, H, telling_driver
from hypothesis import given
from hypothesis import strategies as st

from rnn_jax import LSTMCell, gate_activations, unroll
from rnn_jax.testing.oracle import (
    DRIVERS,
    B,
    T,
    assert_close,
    assert_same,
    loop,
    problem,
    run,
    run_back,
)
from rnn_jax.testing.ragged import LENGTHS, PADDING
from rnn_jax.wrappers.masking import keep_mask


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
        last, ys = run(cell, params, xs, carry, lengths=lengths, driver="scan")
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
        return unroll(cell, params, x, carry, lengths=length, driver=DRIVERS[driver])

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
