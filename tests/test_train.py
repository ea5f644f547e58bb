"""Training on one device and on many, and steps that are not finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnn_jax import LSTMCell, RNNCell, SequenceClassifier
from rnn_jax.numerics import all_finite, clip_by_global_norm
from rnn_jax.training.batches import BatchOrder
from rnn_jax.training.commands.config import TrainConfig
from rnn_jax.training.devices.sharding import data_mesh
from rnn_jax.training.evaluation import make_predict
from rnn_jax.training.feeds import InMemory
from rnn_jax.training.intervals import fit
from rnn_jax.training.losses import classification_loss, evaluate, logits_of
from rnn_jax.training.optimizers import make_optimizer
from rnn_jax.training.state import batch_of, init_state, model_of
from rnn_jax.training.step import make_train_step

CLASSES, N, T, D = 3, 40, 5, 4
LSTM, RELU = LSTMCell(6), RNNCell(6, "relu")


def create(cell=LSTM, dtype=None):
    sizes = {"projection_size": 8, "dtype": dtype}
    return SequenceClassifier(cell, D, CLASSES, **sizes, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def examples():
    """Sequences whose class is the feature with the largest mean."""
    xs = np.random.default_rng(0).normal(size=(N, T, D)).astype(np.float32)
    return jnp.asarray(xs), jnp.asarray(xs.mean(1)[:, :CLASSES].argmax(-1))


def trained(examples, *, devices=1, steps=12, log_every=5, clip_norm=0, max_bad_steps=10, **model):
    mesh, optimizer = data_mesh(8, devices), optax.adam(0.01)
    if clip_norm:
        optimizer = optax.chain(clip_by_global_norm(clip_norm), optimizer)
    graphdef, state = init_state(functools.partial(create, **model), optimizer, mesh)
    step = make_train_step(graphdef, classification_loss, optimizer, mesh, max_bad_steps)
    feed, rows = InMemory(examples, BatchOrder(0, N, 8), log_every, mesh), []
    for latest, row in fit(step.many, state, feed, steps=steps, log_every=log_every):
        state = latest
        rows += [row] if row else []
    return graphdef, state, rows


def test_training_lowers_the_loss(examples):
    _, _, rows = trained(examples, steps=100, log_every=25)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


def test_rows_contain_the_progress_of_training(examples):
    _, state, rows = trained(examples, steps=12, log_every=5)
    assert [row["step"] for row in rows] == [5, 10, 12]
    assert [row["examples"] for row in rows] == [40, 80, 96]
    assert int(state.step) == 12


def test_the_logging_interval_changes_only_the_rows(examples):
    # With the flags of conftest XLA compiles an interval of one step without a loop, and rounds
    # differently.
    states = [trained(examples, log_every=n)[1] for n in (5, 12)]
    jax.tree.map(np.testing.assert_array_equal, states[0].params, states[1].params)


@pytest.mark.parametrize("devices", [2, 8])
def test_several_devices_give_the_steps_of_one(examples, devices):
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


def test_a_bad_step_is_skipped_and_counted(examples):
    xs, labels = examples
    bad = BatchOrder(0, N, 8).indices(2, 1)[0, 0]
    rows, states = [], []
    for harm in (1.0, np.nan):
        _, state, found = trained((xs.at[bad].multiply(harm), labels), steps=4, log_every=1)
        rows.append(found)
        states.append(state)
    assert [row["skipped_steps"] for row in rows[1]] == [0, 0, 1, 1]
    assert [row["loss"] is None for row in rows[1]] == [False, False, True, False]
    assert int(states[1].opt_state[0].count) == 3
    assert int(states[1].skipped) == 1 and int(states[1].skipped_in_row) == 0
    assert all_finite(states[1].params) and rows[0][1]["loss"] == rows[1][1]["loss"]


@pytest.mark.parametrize("scale", [np.nan, 1e25])
def test_training_gives_up_after_too_many_bad_steps_in_a_row(examples, scale):
    """1e25: finite gradients whose squares overflow in Adam."""
    xs, labels = examples
    _, start, _ = trained(examples, steps=0, cell=RELU)
    _, state, rows = trained((xs * scale, labels), steps=50, log_every=7, cell=RELU)
    assert int(state.step) == int(state.skipped_in_row) == 10
    assert [row["step"] for row in rows] == [7]
    jax.tree.map(np.testing.assert_array_equal, state.params, start.params)


def test_clipped_training_survives_gradients_of_any_size(examples):
    xs, labels = examples
    _, state, rows = trained((xs * 1e25, labels), steps=5, clip_norm=1.0, cell=RELU)
    assert int(state.skipped) == 0 and all_finite(state)
    assert rows[-1]["grad_norm"] > 1e20


def test_an_overflow_in_bfloat16_is_a_bad_step(examples):
    xs, labels = examples
    _, state, _ = trained((xs * 3e38, labels), steps=3, dtype=jnp.bfloat16)
    assert int(state.skipped) == 3 and all_finite(state.params)


@pytest.mark.parametrize("count", [1, 7, N])
def test_predictions_do_not_depend_on_their_number(examples, count):
    mesh = data_mesh(8, 8)
    graphdef, params = nnx.split(create(), nnx.Param)
    predict = make_predict(graphdef, logits_of, mesh, batch_size=4)
    xs = examples[0]
    alone = create()(jnp.moveaxis(jnp.asarray(xs[:count]), 0, 1))
    np.testing.assert_allclose(predict(params, xs[:count]), alone, atol=1e-6)


def test_evaluation_is_mean_cross_entropy_and_accuracy():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], np.float32))
    loss, accuracy = evaluate(jnp.asarray(logits), jnp.array([0, 1]))
    np.testing.assert_allclose(loss, -np.log([0.7, 0.3]).mean(), rtol=1e-6)
    assert accuracy == 0.5


@pytest.mark.parametrize("devices", [1, 2])
def test_single_steps_in_a_loop_equal_the_steps_of_one_call(examples, devices):
    mesh, optimizer = data_mesh(8, devices), optax.adam(0.01)
    graphdef, state = init_state(create, optimizer, mesh)
    step = make_train_step(graphdef, classification_loss, optimizer, mesh)
    for indices in BatchOrder(0, N, 8).indices(0, 3):
        state, metrics = step.one(state, batch_of(examples, indices))
    _, whole, rows = trained(examples, devices=devices, steps=3, log_every=3)
    assert metrics["loss"] == pytest.approx(rows[-1]["loss"], rel=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), state, whole)
    assert isinstance(model_of(graphdef, state), SequenceClassifier)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "warmup-cosine"])
def test_each_optimizer_and_schedule_lowers_the_loss(tmp_path, optimizer, schedule):
    decay = 0.01 if optimizer == "adamw" else 0.0
    options = {"optimizer": optimizer, "schedule": schedule, "weight_decay": decay}
    config = TrainConfig(out_dir=tmp_path, learning_rate=0.05, clip_norm=1.0, **options)
    config.check()
    rule = make_optimizer(config, 50)
    params = jnp.array([1.0, -2.0])
    state = rule.init(params)
    for _ in range(50):
        updates, state = rule.update(2 * params, state, params)
        params = optax.apply_updates(params, updates)
    assert jnp.abs(params).max() < 1
