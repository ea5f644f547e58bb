"""Delayed copy and delayed XOR: targets follow from inputs, and examples depend on their key."""

import numpy as np
import pytest

from rnn_jax.datasets.delayed_bits import TASKS
from rnn_jax.datasets.memory_tasks import example_keys


def sample(name, numbers, T, seed=0):
    return TASKS[name].sample(example_keys(seed, np.array(numbers)), T)


@pytest.mark.parametrize("T", [4, 10, 13])
@pytest.mark.parametrize("name", TASKS)
def test_every_target_follows_from_the_bits_of_the_documented_delay(name, T):
    xs, targets = (np.asarray(array) for array in sample(name, np.arange(50), T))
    bits, delay = (xs[..., 0] > 0).astype(int), T // 2
    np.testing.assert_array_equal(xs[..., 0], 2 * bits - 1)
    assert xs.shape == (T, 50, 1) and targets.shape == (T - delay, 50)
    for t in range(delay, T):
        expected = bits[t - delay]
        if name == "xor":
            expected = expected ^ bits[t - delay // 2]
        np.testing.assert_array_equal(targets[t - delay], expected)


@pytest.mark.parametrize("name", TASKS)
def test_an_example_is_a_function_of_seed_and_number(name):
    several, alone, other = (
        sample(name, *rest) for rest in (([3, 7, 9], 40), ([7], 40), ([7], 40, 1))
    )
    for batch, one, another in zip(several, alone, other, strict=True):
        np.testing.assert_array_equal(batch[:, 1], one[:, 0])
        assert (np.asarray(one) != np.asarray(another)).any()


@pytest.mark.parametrize("name", TASKS)
def test_a_guess_is_right_half_of_the_time(name):
    targets = np.asarray(sample(name, np.arange(2000), 8).targets)
    np.testing.assert_allclose(targets.mean(1), 0.5, atol=0.05)
