"""What a network is asked to do: input sequences, and what is to be said at the last steps."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax import data
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Key, Shaped

TaskName = Literal["adding", "copy", "mnist-rows", "mnist-pixels", "noise"]
BUNDLED = Path(__file__).parent.parent / "experiments" / "mnist_files"
NOISE_FEATURES, SYMBOLS, COPIED = 28, 8, 10


class Batch(NamedTuple):
    """Sequences, and the targets of the last R steps: classes, or numbers [..., C]."""

    xs: Float[Array, "T B D"]
    targets: Shaped[Array, "R B ..."]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A source of batches.

    Attributes:
      input_size: D, the features of a time step.
      outputs: C, how many numbers the output layer says.
      shortest: the fewest time steps that make sense.
      draw: `(key, T, B) -> Batch`.
    """

    input_size: int
    outputs: int
    shortest: int
    draw: Callable[[Key[Array, ""], int, int], Batch]


def load_task(name: TaskName, data_dir: Path | None = None) -> Task:
    """The task of this name; for MNIST the images are loaded.

    Raises:
      InputError: no such task; the images cannot be loaded.
    """
    if name.startswith("mnist-"):
        return _mnist_task(name.removeprefix("mnist-"), data_dir)
    if name not in TASKS:
        raise InputError(f"--task must be one of {', '.join(get_args(TaskName))}; got {name!r}.")
    return TASKS[name]


def adding(key: Key[Array, ""], T: int, B: int) -> Batch:
    """Add the two numbers that are marked among T in 0 to 1: one in each half of the sequence.

    Reference: Hochreiter, Schmidhuber (1997), "Long short-term memory"; there numbers lie in -1 to
    1 and the marks are at the start. Here as in Le, Jaitly, Hinton (2015).
    """
    key, first, second = jax.random.split(key, 3)
    numbers = jax.random.uniform(key, (T, B))
    marks = jnp.stack(
        [
            jax.random.randint(first, (B,), 0, T // 2),
            jax.random.randint(second, (B,), T // 2, T),
        ]
    )
    marked = (jnp.arange(T)[:, None, None] == marks).any(1)
    total = (numbers * marked).sum(0)
    return Batch(jnp.stack([numbers, marked.astype(numbers.dtype)], -1), total[None, :, None])


def copy(key: Key[Array, ""], T: int, B: int) -> Batch:
    """Say the first 10 symbols again at the last 10 steps, nothing but blanks between.

    Input: one of 8 symbols, a blank, or at the last 10 steps the sign to speak, as 10 features.
    Reference: Hochreiter, Schmidhuber (1997), "Long short-term memory"; sizes as in Arjovsky, Shah,
    Bengio (2016), "Unitary evolution recurrent neural networks".
    """
    symbols = jax.random.randint(key, (COPIED, B), 0, SYMBOLS)
    blanks = jnp.full((T - 2 * COPIED, B), SYMBOLS)
    speak = jnp.full((COPIED, B), SYMBOLS + 1)
    xs = jax.nn.one_hot(jnp.concatenate([symbols, blanks, speak]), SYMBOLS + 2)
    return Batch(xs, symbols)


def noise(key: Key[Array, ""], T: int, B: int) -> Batch:
    """White noise of 28 features; one number, normal too, is wanted at the end."""
    xs, target = jax.random.split(key)
    return Batch(
        jax.random.normal(xs, (T, B, NOISE_FEATURES)), jax.random.normal(target, (1, B, 1))
    )


TASKS = {
    "adding": Task(2, 1, 2, adding),
    "copy": Task(SYMBOLS + 2, SYMBOLS, 2 * COPIED + 1, copy),
    "noise": Task(NOISE_FEATURES, 1, 1, noise),
}


def _mnist_task(order, data_dir):
    """Images one after the other, T steps in all; what the first one showed is asked at the end."""
    images = data.load_images("mnist", data_dir, bundled=BUNDLED)
    xs = data.to_sequences(images.train_images, order)
    count, steps, features = xs.shape

    def draw(key, T, B):
        chosen = np.asarray(jax.random.randint(key, (B, -(-T // steps)), 0, count))
        read = xs[chosen].reshape(B, -1, features)[:, :T]
        return Batch(
            jnp.asarray(np.moveaxis(read, 1, 0)), jnp.asarray(images.train_labels[chosen[:, :1]].T)
        )

    return Task(features, images.num_classes, steps, draw)
