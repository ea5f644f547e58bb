"""Batches are a pure function of seed and step."""

import numpy as np
import pytest

from rnn_jax import InputError
from rnn_jax.training import feeds
from rnn_jax.training.batches import BatchOrder, BucketOrder, StreamOrder
from rnn_jax.training.devices.sharding import data_mesh


def test_every_epoch_visits_each_example_once_and_in_a_new_order():
    order = BatchOrder(seed=3, num_examples=24, batch_size=8)
    first, second = order.indices(0, 3), order.indices(3, 3)
    assert sorted(first.ravel()) == sorted(second.ravel()) == list(range(24))
    assert (first != second).any()


def test_a_batch_depends_on_seed_and_step_alone():
    order = BatchOrder(seed=3, num_examples=20, batch_size=8)
    np.testing.assert_array_equal(order.indices(0, 7)[5:], order.indices(5, 2))
    assert (order.indices(0, 2) != BatchOrder(4, 20, 8).indices(0, 2)).any()


def test_a_batch_larger_than_the_data_set_is_an_error():
    with pytest.raises(InputError, match="a batch of 9 is larger than the data set of 8"):
        BatchOrder(seed=0, num_examples=8, batch_size=9)


def test_each_batch_element_reads_consecutive_windows_of_a_stream():
    streams = np.arange(2 * 12).reshape(2, 12)
    order = StreamOrder(num_windows=3, batch_size=2)
    read = streams.reshape(-1, 4)[order.indices(0, 3)]
    np.testing.assert_array_equal(np.moveaxis(read, 0, 1).reshape(2, 12), streams)
    np.testing.assert_array_equal(order.indices(0, 8)[3:], order.indices(3, 5))
    np.testing.assert_array_equal(order.indices(3, 3), order.indices(0, 3))


def test_buckets_hold_similar_lengths_and_every_example_once():
    lengths = tuple(np.random.default_rng(0).integers(1, 100, 96).tolist())
    order = BucketOrder(seed=3, lengths=lengths, batch_size=4)
    first, second = order.indices(0, 24), order.indices(24, 24)
    assert sorted(first.ravel()) == sorted(second.ravel()) == list(range(96))
    assert (first != second).any()
    np.testing.assert_array_equal(order.indices(20, 8)[5:], order.indices(25, 3))
    read = np.array(lengths)[first]
    assert read.sum() > 0.85 * 4 * read.max(1).sum()
    plain = np.array(lengths)[BatchOrder(3, 96, 4).indices(0, 24)]
    assert plain.sum() < 0.7 * 4 * plain.max(1).sum()


@pytest.mark.parametrize("order", [BatchOrder(0, 1000, 100), StreamOrder(7, 100)])
def test_memory_use_does_not_grow_with_log_every(order):
    many, few = (feeds.InMemory({}, order, n, data_mesh(100, 1)) for n in (10**9, 20))
    many.set_state({"next_step": 5})
    _, found = many.inputs(3)
    assert found.size <= feeds.MOST_INDICES
    assert (found[:3] == order.indices(5, 3)).all() and not found[3:].any()
    assert few.inputs(3)[1].shape == (20, 100)
