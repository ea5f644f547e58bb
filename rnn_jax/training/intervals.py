"""The loop over compiled calls of many training steps each."""

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.training.batches import Order
from rnn_jax.training.commands import signals
from rnn_jax.training.commands.signals import interruptible
from rnn_jax.training.devices.sharding import largest
from rnn_jax.training.state import TrainState
from rnn_jax.typing import Array, Data, Float, Int

ROW = ("step", "examples", "loss", "grad_norm", "skipped_steps", "examples_per_second")
"""The entries of every row of metrics; loss functions may add others."""

LONGEST_CALL = 5.0
"""Longest duration of one compiled call [s], and so the longest delay of a signal."""

MOST_INDICES = 2**20
"""Most examples of one compiled call, which bounds the memory of their indices."""


def compile_timed(function: Callable, *args) -> tuple[Callable, float]:
    """Compile a jitted function for these arguments; return it and the compilation time [s].

    A signal interrupts the wait for the compiler.

    Raises:
      InputError: compilation is disabled.
    """
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
        raise InputError("training is compiled, and JAX_DISABLE_JIT forbids that; unset it.")
    start = time.perf_counter()
    compiled = signals.interruptible(function.lower(*args).compile)
    return compiled, time.perf_counter() - start


def call_length(order: Order, log_every: int) -> int:
    """The most steps of one compiled call; the shape that is compiled for."""
    return max(1, min(log_every, MOST_INDICES // order.batch_size))


def call_indices(
    order: Order, first_step: int, steps: int, log_every: int
) -> Int[np.ndarray, "S B"]:
    """The examples of `steps` steps, padded with zeros to `call_length` steps."""
    indices = order.indices(first_step, steps)
    return np.pad(indices, ((0, call_length(order, log_every) - steps), (0, 0)))


def fit(
    many: Callable[..., tuple[TrainState, dict[str, Float[Array, ""]]]],
    state: TrainState,
    data: Data,
    order: Order,
    *,
    steps: int,
    log_every: int,
    checkpoint_every: int = 0,
) -> Iterator[tuple[TrainState, dict[str, float | None] | None]]:
    """Train until `state.step` equals `steps`; yield the state and a row after each compiled call.

    A call ends at every multiple of `log_every`, at every multiple of `checkpoint_every`, after
    `LONGEST_CALL` seconds, and after `call_length` steps. The results do not depend on it. Calls
    that end elsewhere than at a multiple of `log_every` yield None instead of a row. Training ends
    early after too many skipped steps in a row.

    A row holds step, examples (seen so far), loss, the metrics of the loss function, grad_norm (all
    of the last step's batch, see `TrainStep`; None if not finite), skipped_steps (so far) and
    examples_per_second (since the last row).

    Args:
      many: see `TrainStep`.
      state: the state to start from.
      data: arrays [N, ...].
      order: the examples of each step.
      steps: the step to train to.
      log_every: steps between two rows.
      checkpoint_every: steps between two ends of calls for checkpoints; 0 for none.
    """
    done = int(state.step)
    last_row, started, pace = done, time.perf_counter(), 1
    while done < steps:
        ends = [steps, done + pace, done + call_length(order, log_every)]
        ends += [done - done % every + every for every in (log_every, checkpoint_every) if every]
        count = min(ends) - done
        indices = call_indices(order, done, count, log_every)
        called = time.perf_counter()
        state, metrics = interruptible(_call, many, state, data, indices, count)
        (seconds,) = largest(time.perf_counter() - called)
        pace = max(1, int(LONGEST_CALL * count / seconds))
        gave_up, done = int(state.step) < done + count, int(state.step)
        if gave_up or (done % log_every and done < steps):
            yield state, None
            if gave_up:
                return
            continue
        found = {name: float(x) if np.isfinite(x) else None for name, x in metrics.items()}
        speed = (done - last_row) * order.batch_size / (time.perf_counter() - started)
        row = {
            "step": done,
            "examples": done * order.batch_size,
            "loss": found.pop("loss"),
            **found,
            "skipped_steps": int(state.skipped),
            "examples_per_second": speed,
        }
        yield state, row
        last_row, started = done, time.perf_counter()


def _call(many, *args):
    return jax.block_until_ready(many(*args))
