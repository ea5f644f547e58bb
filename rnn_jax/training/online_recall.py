"""Training on a stream with each gradient estimator, and the memory that a step needs."""

import functools
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnn_jax.analysis.online_estimators import RFLO, RTRL, UORO, SnAp1
from rnn_jax.cells.registry import find_cell
from rnn_jax.datasets.delayed_bits import delayed_copy_stream
from rnn_jax.numerics import clip_by_global_norm
from rnn_jax.training.online import init_online, make_online_step
from rnn_jax.training.truncated import init_truncated, make_truncated_step

ESTIMATORS = {"uoro": UORO(), "rflo": RFLO(), "snap1": SnAp1(), "rtrl": RTRL()}
"""Online estimators by name; `bptt` is truncated backpropagation through time."""


class Point(NamedTuple):
    """A training run."""

    cell: str
    estimator: str
    seed: int


class Size(NamedTuple):
    """A training step over T steps."""

    cell: str
    estimator: str
    T: int


class Training(NamedTuple):
    """The compiled parts of a training run.

    Attributes:
      start: `start(seed) -> state`, with newly initialized parameters.
      step: `step(state, xs, targets) -> (state, losses)`; see `make_online_step`.
    """

    start: Callable[[int], Any]
    step: Callable


def pairs(cells: Sequence[str], estimators: Sequence[str], **sizes: Any) -> list[tuple[str, str]]:
    """All combinations of a cell and an estimator.

    Args:
      cells: names of cells.
      estimators: names of `ESTIMATORS`, and `bptt`.
      sizes: the options of `make_training` after `estimator`, and `delay`.

    Raises:
      InputError: an unknown cell, or an estimator that does not support the cell.
    """
    found = [(cell, estimator) for cell in cells for estimator in estimators]
    for pair in found:
        _lowered(*pair, T=sizes["window"], **sizes)
    return found


def square(head, y, targets):
    """Mean squared error of one step."""
    return jnp.mean((y @ head - targets) ** 2)


@functools.lru_cache(maxsize=1)
def make_training(
    cell: str,
    estimator: str,
    *,
    hidden_size: int,
    window: int,
    batch_size: int,
    learning_rate: float,
    clip_norm: float,
) -> Training:
    """Make the parts of a training run that all seeds share.

    Args:
      cell, estimator: names.
      hidden_size: hidden units.
      window: steps between two updates, and steps of truncated backpropagation.
      batch_size: number of streams.
      learning_rate: Adam's learning rate.
      clip_norm: maximum global norm of the gradient.
    """
    model = find_cell(cell, hidden_size)
    optimizer = optax.chain(clip_by_global_norm(clip_norm), optax.adam(learning_rate))

    def start(seed):
        key, noise = jax.random.split(jax.random.key(seed))
        params = model.init(key, 1), jnp.zeros((model.output_size, 1))
        if estimator == "bptt":
            return init_truncated(model, params, optimizer, (batch_size,))
        return init_online(
            ESTIMATORS[estimator], model, params, optimizer, (batch_size,), key=noise
        )

    if estimator == "bptt":
        step = make_truncated_step(square, model, optimizer, window)
    else:
        step = make_online_step(square, ESTIMATORS[estimator], model, optimizer, window)
    return Training(start, step)


def train(
    trainings: Iterable[Point], *, delay: int, steps: int, points: int, **sizes: Any
) -> Iterator[dict]:
    """Train on streams of delayed copies; yield the row of each training run.

    Its `losses` are means over equal pieces of the stream, in order. `peak_memory` is that of the
    process [MiB], after the first piece and at the end.

    Args:
      trainings: the training runs.
      delay: steps between an input and its target.
      steps: steps of each stream, which is never in memory as a whole.
      points: number of pieces.
      sizes: the options of `make_training` after `estimator`.
    """
    piece = steps // points
    for point in trainings:
        start, step = make_training(point.cell, point.estimator, **sizes)
        state, losses, memory = start(point.seed), [], []
        stream, began = jax.random.fold_in(jax.random.key(point.seed), 1), time.perf_counter()
        for first in range(0, steps, piece):
            xs, targets = delayed_copy_stream(stream, first, piece, sizes["batch_size"], delay)
            state, errors = step(state, xs, targets)
            losses.append(float(errors.mean()) / sizes["window"])
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        seconds = time.perf_counter() - began
        found = {"losses": losses, "peak_memory": [memory[0], memory[-1]], "seconds": seconds}
        yield point._asdict() | found


def measure(trainings: Iterable[Size], **sizes: Any) -> Iterator[dict]:
    """Compile training steps over T steps; yield rows with their working memory in bytes.

    `bptt` backpropagates through all T steps. Inputs, parameters and results are not counted.

    Args:
      trainings: the training steps.
      sizes: as for `pairs`.
    """
    for size in trainings:
        window = {"window": size.T} if size.estimator == "bptt" else {}
        compiled = _lowered(*size, **sizes | window).compile()
        yield size._asdict() | {"bytes": compiled.memory_analysis().temp_size_in_bytes}


def _lowered(cell, estimator, T, *, delay, **sizes):
    del delay
    start, step = make_training(cell, estimator, **sizes)
    xs = jax.ShapeDtypeStruct((T, sizes["batch_size"], 1), jnp.float32)
    return step.lower(jax.eval_shape(start, 0), xs, xs)
