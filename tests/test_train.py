"""Training: batches are a function of (seed, step), one path for one device and for many."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnn_jax import InputError, LSTMCell, SequenceClassifier
from rnn_jax.mesh import data_mesh
from rnn_jax.train import (
    BatchOrder,
    evaluate,
    fit,
    init_state,
    make_predict,
    make_train_interval,
)

CLASSES, N, T, D = 3, 40, 5, 4


def create():
    return SequenceClassifier(LSTMCell(6), D, CLASSES, projection_size=8, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def examples():
    """Sequences whose class is the feature with the largest mean."""
    xs = np.random.default_rng(0).normal(size=(N, T, D)).astype(np.float32)
    return jnp.asarray(xs), jnp.asarray(xs.mean(1)[:, :CLASSES].argmax(-1))


def trained(examples, *, devices=1, steps=12, log_every=5, learning_rate=0.01):
    mesh, optimizer = data_mesh(8, devices), optax.adam(learning_rate)
    graphdef, state = init_state(create, optimizer, mesh)
    interval = make_train_interval(graphdef, optimizer, mesh)
    order = BatchOrder(0, N, 8)
    rows = []
    for latest, row in fit(interval, state, *examples, order, steps=steps, log_every=log_every):
        state = latest
        rows.append(row)
    return graphdef, state, rows


def test_every_epoch_visits_each_example_once_and_in_a_new_order():
    order = BatchOrder(seed=3, num_examples=24, batch_size=8)
    first, second = order.indices(0, 3), order.indices(3, 3)
    assert sorted(first.ravel()) == sorted(second.ravel()) == list(range(24))
    assert (first != second).any()


def test_a_batch_depends_on_seed_and_step_alone():
    order = BatchOrder(seed=3, num_examples=20, batch_size=8)
    np.testing.assert_array_equal(order.indices(0, 7)[5:], order.indices(5, 2))
    assert (order.indices(0, 2) != BatchOrder(4, 20, 8).indices(0, 2)).any()


def test_a_batch_larger_than_the_data_set_is_refused():
    with pytest.raises(InputError, match="a batch of 9 is larger than the data set of 8"):
        BatchOrder(seed=0, num_examples=8, batch_size=9)


def test_training_lowers_the_loss(examples):
    _, _, rows = trained(examples, steps=100, log_every=25)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


def test_rows_say_where_training_stands(examples):
    _, state, rows = trained(examples, steps=12, log_every=5)
    assert [row["step"] for row in rows] == [5, 10, 12]
    assert [row["examples"] for row in rows] == [40, 80, 96]
    assert int(state.step) == 12


def test_the_logging_interval_changes_nothing_but_the_rows(examples):
    states = [trained(examples, log_every=n)[1] for n in (1, 12)]
    jax.tree.map(np.testing.assert_array_equal, states[0].params, states[1].params)


@pytest.mark.parametrize("devices", [2, 8])
def test_several_devices_take_the_steps_of_one(examples, devices):
    one, several = (trained(examples, devices=n)[1].params for n in (1, devices))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), one, several)


def test_a_step_is_the_adam_step_on_the_mean_gradient_of_the_batch(examples):
    graphdef, state, _ = trained(examples, steps=1)
    xs, labels = (array[BatchOrder(0, N, 8).indices(0, 1)[0]] for array in examples)

    def loss(params):
        logits = nnx.merge(graphdef, params)(jnp.moveaxis(xs, 0, 1))
        return -jax.nn.log_softmax(logits)[np.arange(8), labels].mean()

    params = nnx.state(create(), nnx.Param)
    optimizer = optax.adam(0.01)
    updates, _ = optimizer.update(jax.grad(loss)(params), optimizer.init(params), params)
    expected = optax.apply_updates(params, updates)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), state.params, expected)


def test_a_loss_that_is_no_number_stops_training(examples):
    xs, labels = examples
    with pytest.raises(
        InputError, match=r"loss became nan between step 0 and step 5; take a lower"
    ):
        trained((xs * np.nan, labels))


@pytest.mark.parametrize("count", [1, 7, N])
def test_predictions_do_not_depend_on_how_many_are_asked_for(examples, count):
    mesh = data_mesh(8, 8)
    graphdef, params = nnx.split(create(), nnx.Param)
    predict = make_predict(graphdef, mesh, batch_size=4)
    xs = examples[0]
    alone = create()(jnp.moveaxis(jnp.asarray(xs[:count]), 0, 1))
    np.testing.assert_allclose(predict(params, xs[:count]), alone, atol=1e-6)


def test_evaluation_is_mean_cross_entropy_and_accuracy():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], np.float32))
    loss, accuracy = evaluate(jnp.asarray(logits), jnp.array([0, 1]))
    np.testing.assert_allclose(loss, -np.log([0.7, 0.3]).mean(), rtol=1e-6)
    assert accuracy == 0.5
