"""Delayed copy and delayed XOR of bits: every output depends on inputs a fixed delay ago.

Sequences of T steps use the delay T // 2; an infinite stream can have any delay. Each example is a
pure function of its key.
"""

import functools

import jax
import jax.numpy as jnp

from rnn_jax.datasets.memory_tasks import Batch, Task, batch_sampler
from rnn_jax.typing import Array, Float, Int, Key


def delayed_copy(key: Key[Array, ""], T: int) -> Batch:
    """Delayed copy: output the bit from d = T // 2 steps ago at each of the last T - d steps.

        y_t = x_{t-d}

    Input: T independent bits, written as -1 and 1. Targets are class ids 0 and 1. A network has to
    hold d bits at once; a random guess is correct with probability 1/2.

    Reference: Engelken (2023), "Gradient flossing: improving gradient descent through dynamic
    control of Jacobians". In the paper, inputs are real numbers and the loss is the squared error.
    """
    bits, delay = _bits(key, T), T // 2
    return Batch(_inputs(bits), bits[: T - delay])


def delayed_xor(key: Key[Array, ""], T: int) -> Batch:
    """Delayed XOR: compare the bits from d = T // 2 and d // 2 steps ago at the last T - d steps.

        y_t = x_{t-d} xor x_{t-d//2}

    Inputs, targets and reference are those of `delayed_copy`.
    """
    bits, delay = _bits(key, T), T // 2
    count, later = T - delay, delay - delay // 2
    return Batch(_inputs(bits), bits[:count] ^ bits[later : later + count])


@functools.partial(jax.jit, static_argnames=("steps", "batch_size", "delay"))
def delayed_copy_stream(
    key: Key[Array, ""], first: int | Int[Array, ""], steps: int, batch_size: int, delay: int
) -> tuple[Float[Array, "T B 1"], Float[Array, "T B 1"]]:
    """Infinite delayed copy: steps `first` to `first + steps - 1` of a stream of bits.

    The input is 1 or -1 with equal probability; the target is the input from `delay` steps
    ago. The constant output 0, which needs no memory, has a mean squared error of 1. A segment
    equals the same steps of the whole stream, which is never held in memory.

    Args:
      key: the key of the stream.
      first: index of the first step, from 0.
      steps: T.
      batch_size: B, the number of independent streams.
      delay: steps between an input and its target.
    """

    def bits(number):
        one = jax.random.fold_in(key, number)
        return jax.random.rademacher(one, (batch_size, 1), jnp.float32)

    inputs = jax.vmap(bits)(first + jnp.arange(steps + delay))
    return inputs[delay:], inputs[:steps]


def _bits(key, T):
    return jax.random.bernoulli(key, shape=(T,)).astype(jnp.int32)


def _inputs(bits):
    return (2.0 * bits - 1.0)[:, None]


TASKS = {
    "copy": Task(1, 2, 2, batch_sampler(delayed_copy)),
    "xor": Task(1, 2, 4, batch_sampler(delayed_xor)),
}
"""The tasks by name."""
