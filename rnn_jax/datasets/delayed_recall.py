"""A stream of random bits to repeat after a delay, without beginning or end."""

import functools

import jax
import jax.numpy as jnp

from rnn_jax.typing import Array, Float, Int, Key


@functools.partial(jax.jit, static_argnames=("steps", "batch_size", "delay"))
def delayed_recall(
    key: Key[Array, ""], first: int | Int[Array, ""], steps: int, batch_size: int, delay: int
) -> tuple[Float[Array, "T B 1"], Float[Array, "T B 1"]]:
    """Inputs and targets of the steps `first` to `first + steps - 1` of a stream.

    The input is 1 or -1 with equal probability; the target is the input of `delay` steps before.
    The answer 0, which needs no memory, has a mean squared error of 1. Pieces of a stream are equal
    to those of the whole, which is never in memory.

    Args:
      key: the key of the stream.
      first: number of the first step, from 0.
      steps: T.
      batch_size: B, the number of independent streams.
      delay: steps between an input and its target.
    """

    def bits(number):
        one = jax.random.fold_in(key, number)
        return jax.random.rademacher(one, (batch_size, 1), jnp.float32)

    inputs = jax.vmap(bits)(first + jnp.arange(steps + delay))
    return inputs[delay:], inputs[:steps]
