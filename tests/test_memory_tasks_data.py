"""Memory tasks: examples depend only on their key, and targets follow from inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.datasets.memory_tasks import TASKS, example_keys, last_steps_error, last_steps_loss
from rnn_jax.training.from_scratch import FIRST_TEST, PARAMETERS


def sample(name, numbers, T=40, seed=0):
    return TASKS[name].sample(example_keys(seed, np.array(numbers)), T)


@pytest.mark.parametrize("name", TASKS)
def test_an_example_is_a_function_of_seed_and_number(name):
    several, alone, other = sample(name, [3, 7, 9]), sample(name, [7]), sample(name, [7], seed=1)
    for batch, one, another in zip(several, alone, other, strict=True):
        np.testing.assert_array_equal(batch[:, 1], one[:, 0])
        assert (np.asarray(one) != np.asarray(another)).any()


def test_training_and_test_examples_and_parameters_share_no_key():
    numbers = np.concatenate([np.arange(1000), FIRST_TEST + np.arange(1000), [PARAMETERS]])
    keys = np.asarray(jax.random.key_data(example_keys(0, numbers)))
    assert len(np.unique(keys, axis=0)) == len(numbers)


def test_the_constant_output_1_has_the_documented_error_at_adding():
    batch = sample("adding", np.arange(4000), T=5)
    ones = jnp.ones_like(batch.targets)
    error = last_steps_error(ones, batch.targets)
    np.testing.assert_allclose(error, 1 / 6, atol=0.01)
    assert error == last_steps_loss(ones, batch.targets)


def test_loss_and_error_of_symbols_depend_on_the_last_steps_only():
    batch = sample("copy", np.arange(5), T=30)
    outputs = np.random.default_rng(0).normal(size=(30, 5, 8)).astype(np.float32)
    probabilities = np.exp(outputs[-10:]) / np.exp(outputs[-10:]).sum(-1, keepdims=True)
    correct = np.take_along_axis(probabilities, np.asarray(batch.targets)[..., None], -1)
    error = (outputs[-10:].argmax(-1) != batch.targets).mean()
    outputs = jnp.asarray(outputs)
    loss = last_steps_loss(outputs, batch.targets)
    np.testing.assert_allclose(loss, -np.log(correct).mean(), rtol=1e-5)
    np.testing.assert_allclose(last_steps_error(outputs, batch.targets), error, rtol=1e-6)
