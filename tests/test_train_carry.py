"""The carry between training steps, and noise on any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnn_jax import LSTMCell
from rnn_jax.models.sequence import SequenceModel
from rnn_jax.numerics import all_finite
from rnn_jax.training.batches import StreamOrder
from rnn_jax.training.devices.sharding import data_mesh
from rnn_jax.training.feeds import InMemory
from rnn_jax.training.intervals import fit
from rnn_jax.training.state import init_state
from rnn_jax.training.step import make_train_step

STREAMS, WINDOWS, T = 8, 3, 4
CELL = LSTMCell(5)
EMPTY = CELL.initial_carry((STREAMS,))


def create():
    return SequenceModel(CELL, 1, 1, rngs=nnx.Rngs(0))


def next_value_loss(model, batch, keys, carry):
    """Squared error of predicting the next value of the stream from noisy inputs."""
    noise = jax.vmap(lambda key: jax.random.normal(key, (T,)))(keys)
    inputs = (batch["xs"] + batch["noise"][:, None] * noise).T[..., None]
    carry, ys = model(inputs, model.reset_carry(carry, batch["begins"]))
    error = jnp.square(ys[..., 0].T - batch["targets"])
    return error.mean(), {"largest": error.max(-1).mean()}, carry


def streams(noise=0.0, always_begins=False):
    whole = np.random.default_rng(0).normal(size=(STREAMS, WINDOWS * T + 1)).astype(np.float32)
    begins = np.tile(np.arange(WINDOWS) == 0, STREAMS) | always_begins
    windows = {"xs": whole[:, :-1].reshape(-1, T), "targets": whole[:, 1:].reshape(-1, T)}
    return windows | {"begins": begins, "noise": np.full(STREAMS * WINDOWS, noise, np.float32)}


@functools.cache
def trainer(devices, learning_rate):
    mesh, optimizer = data_mesh(STREAMS, devices), optax.adam(learning_rate)
    graphdef, state = init_state(create, optimizer, mesh, carry=EMPTY)
    step = make_train_step(graphdef, next_value_loss, optimizer, mesh)
    return step.many, state


def trained(data, *, devices=1, steps=7, log_every=2, learning_rate=0.01):
    interval, start = trainer(devices, learning_rate)
    state, rows = jax.tree.map(jnp.copy, start), []
    feed = InMemory(data, StreamOrder(WINDOWS, STREAMS), log_every, data_mesh(STREAMS, devices))
    for latest, row in fit(interval, state, feed, steps=steps, log_every=log_every):
        state = latest
        rows += [row] if row else []
    return state, rows


def assert_close(got, want):
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), got, want)


def test_consecutive_windows_give_the_carry_of_the_whole_stream():
    data = streams()
    state, _ = trained(data, steps=WINDOWS, log_every=WINDOWS, learning_rate=0)
    whole = data["xs"].reshape(STREAMS, -1).T[..., None]
    assert_close(state.carry, create()(jnp.asarray(whole))[0])


def test_a_stream_that_begins_has_the_initial_carry():
    once, _ = trained(streams(), steps=WINDOWS + 1, log_every=4, learning_rate=0)
    first, _ = trained(streams(), steps=1, log_every=4, learning_rate=0)
    assert_close(once.carry, first.carry)


def test_the_carry_affects_training():
    carried, reset = (trained(streams(always_begins=begins))[0] for begins in (False, True))
    assert not np.allclose(carried.params.rnn.params.w_h[...], reset.params.rnn.params.w_h[...])


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_carry_and_noise_do_not_depend_on_the_number_of_devices(noise):
    (one, one_rows), (several, rows) = (trained(streams(noise), devices=n) for n in (1, 8))
    assert_close((several.params, several.carry), (one.params, one.carry))
    for mine, theirs in zip(rows, one_rows, strict=True):
        np.testing.assert_allclose(mine["largest"], theirs["largest"], rtol=1e-5)


def test_noise_differs_between_steps_and_batch_elements():
    def loss(model, batch, keys, carry):
        del batch, carry
        drawn = jax.vmap(jax.random.normal)(keys)
        return nnx.state(model)["output"]["bias"][...].sum() * 0.0, {}, drawn

    mesh = data_mesh(STREAMS, 1)
    graphdef, state = init_state(create, optax.sgd(0), mesh, carry=jnp.zeros(STREAMS))
    interval = make_train_step(graphdef, loss, optax.sgd(0), mesh).many
    drawn, feed = [], InMemory({}, StreamOrder(3, STREAMS), 1, mesh)
    for latest, _ in fit(interval, state, feed, steps=4, log_every=1):
        drawn += np.asarray(latest.carry).tolist()
    assert len(set(drawn)) == 4 * STREAMS


def test_a_bad_step_does_not_change_the_carry():
    data = streams()
    data["targets"][1] = np.nan
    (first, _), (second, rows) = (trained(data, steps=n, log_every=n) for n in (1, 2))
    assert int(second.skipped) == 1 and rows[0]["loss"] is None
    assert rows[0]["largest"] is None
    jax.tree.map(np.testing.assert_array_equal, second.carry, first.carry)


def test_a_carry_that_is_not_finite_makes_a_step_bad():
    def loss(model, batch, keys, carry):
        loss, metrics, carry = next_value_loss(model, batch, keys, carry)
        return loss, metrics, jax.tree.map(lambda leaf: leaf.at[-1].set(jnp.inf), carry)

    mesh = data_mesh(STREAMS, 8)
    graphdef, state = init_state(create, optax.adam(0.01), mesh, carry=EMPTY)
    interval = make_train_step(graphdef, loss, optax.adam(0.01), mesh).many
    indices = StreamOrder(WINDOWS, STREAMS).indices(0, 2)
    state, _ = interval(state, streams(), indices, 2)
    assert int(state.skipped) == 2 and all_finite(state)
