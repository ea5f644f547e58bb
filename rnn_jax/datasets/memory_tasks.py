"""Tasks that ask for memory: examples drawn on the fly, each a pure function of its own key."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax.typing import Array, Float, Int, Key, Shaped

SYMBOLS, COPIED = 8, 10


class Batch(NamedTuple):
    """Sequences, and the targets of the last R steps: classes, or numbers [..., C]."""

    xs: Float[Array, "T ... D"]
    targets: Shaped[Array, "R ..."]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A source of batches.

    Attributes:
      input_size: D, the features of a time step.
      outputs: C, how many numbers the output layer says.
      shortest: the fewest time steps that make sense.
      draw: `(keys [B], T) -> Batch`, the example of each key.
    """

    input_size: int
    outputs: int
    shortest: int
    draw: Callable[[Key[Array, " B"], int], Batch]


def example_keys(seed: int, numbers: Int[np.ndarray, " B"]) -> Key[Array, " B"]:
    """The keys of examples by their numbers, 0 to 2³² - 1: another number, another example."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), numbers.astype(np.uint32))


def adding(key: Key[Array, ""], T: int) -> Batch:
    """Add the two numbers that are marked among T in 0 to 1: one in each half of the sequence.

    Who always says 1 is wrong by 1/6, the variance of the sum, in the mean square.

    Reference: Hochreiter, Schmidhuber (1997), "Long short-term memory"; there numbers lie in -1 to
    1 and the marks are at the start. Here as in Le, Jaitly, Hinton (2015).
    """
    key, first, second = jax.random.split(key, 3)
    numbers = jax.random.uniform(key, (T,))
    marks = jnp.zeros(T).at[jax.random.randint(first, (), 0, T // 2)].set(1)
    marks = marks.at[jax.random.randint(second, (), T // 2, T)].set(1)
    return Batch(jnp.stack([numbers, marks], -1), (numbers @ marks)[None, None])


def copy(key: Key[Array, ""], T: int) -> Batch:
    """Say the first 10 symbols again at the last 10 steps, nothing but blanks between.

    Input: one of 8 symbols, a blank, or at the last 10 steps the sign to speak, as 10 features.
    Reference: Hochreiter, Schmidhuber (1997), "Long short-term memory"; sizes as in Arjovsky, Shah,
    Bengio (2016), "Unitary evolution recurrent neural networks".
    """
    symbols = jax.random.randint(key, (COPIED,), 0, SYMBOLS)
    blanks = jnp.full(T - 2 * COPIED, SYMBOLS)
    speak = jnp.full(COPIED, SYMBOLS + 1)
    return Batch(jax.nn.one_hot(jnp.concatenate([symbols, blanks, speak]), SYMBOLS + 2), symbols)


def batched(example: Callable[[Key[Array, ""], int], Batch]) -> Callable[..., Batch]:
    """The `draw` of a task from the function that draws one example, `(key, T) -> Batch`."""
    return jax.jit(jax.vmap(example, (0, None), out_axes=1), static_argnums=1)


TASKS = {
    "adding": Task(2, 1, 2, batched(adding)),
    "copy": Task(SYMBOLS + 2, SYMBOLS, 2 * COPIED + 1, batched(copy)),
}


def last_steps_loss(
    outputs: Float[Array, "T B C"], targets: Shaped[Array, "R B ..."]
) -> Float[Array, ""]:
    """The mean loss of the last R steps: cross-entropy of classes, squares of differences."""
    outputs = outputs[-len(targets) :]
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets).mean()
    return jnp.mean((outputs - targets) ** 2)


def last_steps_error(
    outputs: Float[Array, "T B C"], targets: Shaped[Array, "R B ..."]
) -> Float[Array, ""]:
    """What is wrong with the last R steps: the fraction of classes, or the mean square error."""
    outputs = outputs[-len(targets) :]
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return jnp.mean(outputs.argmax(-1) != targets)
    return jnp.mean((outputs - targets) ** 2)
