"""Devices as one mesh axis."""

import pytest

from rnn_jax import InputError
from rnn_jax.training.devices.sharding import data_mesh, start_devices


@pytest.mark.parametrize("batch, devices", [(16, 8), (12, 6), (9, 3), (11, 1), (1, 1)])
def test_by_default_the_mesh_takes_the_most_devices_that_divide_the_batch(batch, devices):
    assert data_mesh(batch).size == devices


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_mesh_takes_the_given_number_of_devices(count):
    mesh = data_mesh(8, count)
    assert mesh.size == count
    assert mesh.axis_names == ("data",)


def test_an_indivisible_batch_error_gives_the_nearest_sizes():
    with pytest.raises(
        InputError, match="7 does not divide over 2 devices; take a batch of 6 or 8"
    ):
        data_mesh(7, 2)


@pytest.mark.parametrize("count", [-1, 64])
def test_more_devices_than_exist_are_an_error(count):
    with pytest.raises(InputError, match=f"to 8, the number JAX sees here; got {count}"):
        data_mesh(64, count)


def test_requests_for_devices_after_jax_starts_are_ignored():
    before = data_mesh(8).size
    start_devices(5)
    assert data_mesh(8).size == before
