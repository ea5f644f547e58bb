"""Tasks: input sequences, and targets at the last steps."""

from pathlib import Path
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.datasets import image_data, memory_tasks
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Key

TaskName = Literal["adding", "copy", "mnist-rows", "mnist-pixels", "noise"]
BUNDLED = Path(__file__).parent.parent / "experiments" / "mnist_files"
NOISE_FEATURES = 28


def load_task(name: TaskName, data_dir: Path | None = None) -> memory_tasks.Task:
    """Find a task by name, and load the images for MNIST.

    Raises:
      InputError: there is no such task, or the images cannot be loaded.
    """
    if name.startswith("mnist-"):
        return _mnist_task(name.removeprefix("mnist-"), data_dir)
    if name not in TASKS:
        raise InputError(f"--task must be one of {', '.join(get_args(TaskName))}; got {name!r}.")
    return TASKS[name]


def noise(key: Key[Array, ""], T: int) -> memory_tasks.Batch:
    """White noise with 28 features; the target is one normally distributed number at the end."""
    xs, target = jax.random.split(key)
    return memory_tasks.Batch(
        jax.random.normal(xs, (T, NOISE_FEATURES)), jax.random.normal(target, (1, 1))
    )


TASKS = memory_tasks.TASKS | {
    "noise": memory_tasks.Task(NOISE_FEATURES, 1, 1, memory_tasks.batch_sampler(noise))
}


def _mnist_task(order, data_dir):
    """Concatenate images to T steps; the target is the class of the first image."""
    images = image_data.load_images("mnist", data_dir, bundled=BUNDLED)
    xs = image_data.to_sequences(images.train_images, order)
    count, steps, features = xs.shape

    def choose(key, T):
        return jax.random.randint(key, (-(-T // steps),), 0, count)

    def sample(keys, T):
        chosen = np.asarray(jax.vmap(choose, (0, None))(keys, T))
        read = xs[chosen].reshape(len(keys), -1, features)[:, :T]
        return memory_tasks.Batch(
            jnp.asarray(np.moveaxis(read, 1, 0)), jnp.asarray(images.train_labels[chosen[:, :1]].T)
        )

    return memory_tasks.Task(features, images.num_classes, steps, sample)
