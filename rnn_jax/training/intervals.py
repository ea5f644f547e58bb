"""The loop over compiled calls of many training steps each."""

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.training.commands import signals
from rnn_jax.training.commands.signals import interruptible
from rnn_jax.training.devices.sharding import largest
from rnn_jax.training.feeds import Feed
from rnn_jax.training.state import TrainState
from rnn_jax.typing import Array, Float

ROW = ("step", "examples", "loss", "grad_norm", "skipped_steps", "examples_per_second")
"""The entries of every row of metrics; loss functions may add others."""

LONGEST_CALL = 5.0
"""Maximum duration of one compiled call [s], and therefore the maximum delay of a signal."""


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


def fit(
    many: Callable[..., tuple[TrainState, dict[str, Float[Array, ""]]]],
    state: TrainState,
    feed: Feed,
    *,
    steps: int,
    log_every: int,
    checkpoint_every: int = 0,
) -> Iterator[tuple[TrainState, dict[str, float | None] | None]]:
    """Train until `state.step` equals `steps`; yield the state and a row after each compiled call.

    A call ends at every multiple of `log_every`, at every multiple of `checkpoint_every`, after
    `LONGEST_CALL` seconds, and after `Feed.length` steps. The results do not depend on this.
    Calls that do not end at a multiple of `log_every` yield None instead of a row. Training ends
    early after too many skipped steps in a row.

    A row holds step, examples (seen so far), loss, the metrics of the loss function, grad_norm (all
    for the last step's batch, see `TrainStep`; None if not finite), skipped_steps (so far) and
    examples_per_second (since the last row).

    Args:
      many: see `Feed.function`.
      state: the state to start from.
      feed: the examples, starting at the step of the state.
      steps: the step to train to.
      log_every: steps between two rows.
      checkpoint_every: steps between calls that end for a checkpoint; 0 for none.
    """
    done, batch_size = int(state.step), feed.order.batch_size
    last_row, started, pace = done, time.perf_counter(), 1
    while done < steps:
        ends = [steps, done + pace, done + feed.length]
        ends += [done - done % every + every for every in (log_every, checkpoint_every) if every]
        count = min(ends) - done
        called = time.perf_counter()
        state, metrics = interruptible(_call, many, state, *feed.inputs(count), count)
        (seconds,) = largest(time.perf_counter() - called)
        pace = max(1, int(LONGEST_CALL * count / seconds))
        gave_up, done = int(state.step) < done + count, int(state.step)
        if gave_up or (done % log_every and done < steps):
            yield state, None
            if gave_up:
                return
            continue
        found = {name: float(x) if np.isfinite(x) else None for name, x in metrics.items()}
        speed = (done - last_row) * batch_size / (time.perf_counter() - started)
        row = {
            "step": done,
            "examples": done * batch_size,
            "loss": found.pop("loss"),
            **found,
            "skipped_steps": int(state.skipped),
            "examples_per_second": speed,
        }
        yield state, row
        last_row, started = done, time.perf_counter()


def _call(many, *args):
    return jax.block_until_ready(many(*args))
