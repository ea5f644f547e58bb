"""Delayed copy and delayed XOR of bits: every output depends on inputs a fixed delay ago.

Sequences of T steps have the delay T // 2. Each example is a pure function of its own key.
"""

import jax
import jax.numpy as jnp

from rnn_jax.datasets.memory_tasks import Batch, Task, batch_sampler
from rnn_jax.typing import Array, Key


def delayed_copy(key: Key[Array, ""], T: int) -> Batch:
    """Delayed copy: output the bit of d = T // 2 steps ago at each of the last T - d steps.

        y_t = x_{t-d}

    Input: T independent bits, written as -1 and 1. Targets are class ids 0 and 1. A network has to
    hold d bits at once; a guess is right with probability 1/2.

    Reference: Engelken (2023), "Gradient flossing: improving gradient descent through dynamic
    control of Jacobians". There inputs are numbers, and the loss is the squared error.
    """
    bits, delay = _bits(key, T), T // 2
    return Batch(_inputs(bits), bits[: T - delay])


def delayed_xor(key: Key[Array, ""], T: int) -> Batch:
    """Delayed XOR: compare the bits of d = T // 2 and of d // 2 steps ago at the last T - d steps.

        y_t = x_{t-d} xor x_{t-d//2}

    Inputs, targets and reference as for `delayed_copy`.
    """
    bits, delay = _bits(key, T), T // 2
    count, later = T - delay, delay - delay // 2
    return Batch(_inputs(bits), bits[:count] ^ bits[later : later + count])


def _bits(key, T):
    return jax.random.bernoulli(key, shape=(T,)).astype(jnp.int32)


def _inputs(bits):
    return (2.0 * bits - 1.0)[:, None]


TASKS = {
    "copy": Task(1, 2, 2, batch_sampler(delayed_copy)),
    "xor": Task(1, 2, 4, batch_sampler(delayed_xor)),
}
"""The tasks by name."""
