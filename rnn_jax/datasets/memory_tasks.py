"""Synthetic memory tasks: the adding problem and the copy task, sampled on the fly.

Each example is a pure function of its key.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax.typing import Array, Float, Int, Key, Shaped

NUM_SYMBOLS, COPY_LENGTH = 8, 10
"""Sizes of the copy task: the alphabet, and the number of symbols to reproduce."""


class Batch(NamedTuple):
    """Input sequences, and targets for the last R steps: class ids, or floats [..., C]."""

    xs: Float[Array, "T ... D"]
    targets: Shaped[Array, "R ..."]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A source of batches.

    Attributes:
      input_size: D, the number of features per time step.
      output_size: C, the number of model outputs per time step.
      min_length: the smallest T for which the task is defined.
      sample: `(keys [B], T) -> Batch`, one example for each key.
    """

    input_size: int
    output_size: int
    min_length: int
    sample: Callable[[Key[Array, " B"], int], Batch]


def example_keys(seed: int, numbers: Int[np.ndarray, " B"]) -> Key[Array, " B"]:
    """Keys of numbered examples. Numbers run from 0 to 2³² - 1; each gives a different example."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), numbers.astype(np.uint32))


def adding(key: Key[Array, ""], T: int) -> Batch:
    """Adding problem: output the sum of two marked numbers at the last step.

    Input: T numbers uniform in [0, 1], and a mark at one step in each half of the sequence. The
    constant output 1 has a mean squared error of 1/6, the variance of the sum.

    Reference: Hochreiter, Schmidhuber (1997), "Long short-term memory". In that paper, the
    numbers lie in [-1, 1] and the marks near the start; this follows Le, Jaitly, Hinton (2015).
    """
    key, first, second = jax.random.split(key, 3)
    numbers = jax.random.uniform(key, (T,))
    marks = jnp.zeros(T).at[jax.random.randint(first, (), 0, T // 2)].set(1)
    marks = marks.at[jax.random.randint(second, (), T // 2, T)].set(1)
    return Batch(jnp.stack([numbers, marks], -1), (numbers @ marks)[None, None])


def copy(key: Key[Array, ""], T: int) -> Batch:
    """Copy task: reproduce the first 10 symbols at the last 10 steps.

    Input: 10 symbols out of 8, then blanks, then a recall marker at each of the last 10 steps; all
    are one-hot, with 10 features.

    Reference: Hochreiter, Schmidhuber (1997), "Long short-term memory"; sizes as in Arjovsky, Shah,
    Bengio (2016), "Unitary evolution recurrent neural networks".
    """
    symbols = jax.random.randint(key, (COPY_LENGTH,), 0, NUM_SYMBOLS)
    blanks = jnp.full(T - 2 * COPY_LENGTH, NUM_SYMBOLS)
    recall = jnp.full(COPY_LENGTH, NUM_SYMBOLS + 1)
    inputs = jnp.concatenate([symbols, blanks, recall])
    return Batch(jax.nn.one_hot(inputs, NUM_SYMBOLS + 2), symbols)


def batch_sampler(example: Callable[[Key[Array, ""], int], Batch]) -> Callable[..., Batch]:
    """Vectorize a function that samples one example, `(key, T) -> Batch`, over keys [B]."""
    return jax.jit(jax.vmap(example, (0, None), out_axes=1), static_argnums=1)


TASKS = {
    "adding": Task(2, 1, 2, batch_sampler(adding)),
    "copy": Task(NUM_SYMBOLS + 2, NUM_SYMBOLS, 2 * COPY_LENGTH + 1, batch_sampler(copy)),
}


def last_steps_loss(
    outputs: Float[Array, "T B C"], targets: Shaped[Array, "R B ..."]
) -> Float[Array, ""]:
    """Mean loss over the last R steps: cross-entropy for class ids, squared error for floats."""
    outputs = outputs[-len(targets) :]
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets).mean()
    return jnp.mean((outputs - targets) ** 2)


def last_steps_error(
    outputs: Float[Array, "T B C"], targets: Shaped[Array, "R B ..."]
) -> Float[Array, ""]:
    """Error over the last R steps: fraction of wrong classes, or mean squared error."""
    outputs = outputs[-len(targets) :]
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return jnp.mean(outputs.argmax(-1) != targets)
    return jnp.mean((outputs - targets) ** 2)
