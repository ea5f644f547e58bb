"""Training from scratch until a task is solved."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from rnn_jax.cells.base import Cell
from rnn_jax.datasets.memory_tasks import TASKS, Task, last_steps_error, last_steps_loss
from rnn_jax.errors import InputError
from rnn_jax.initializers import Initializer
from rnn_jax.models.sequence import SequenceModel
from rnn_jax.numerics import clip_by_global_norm
from rnn_jax.training.from_scratch import FIRST_TEST, cell_and_init, examples, make_training
from rnn_jax.training.grids import timed_rows
from rnn_jax.typing import Array, Key


class Point(NamedTuple):
    """A point of the grid."""

    task: str
    T: int
    cell: str
    seed: int


class Attempt(NamedTuple):
    """The result of one training run.

    Attributes:
      solved: whether the last error was below the criterion.
      steps: number of training steps.
      errors: test errors, one after each `check_every` steps; see `last_steps_error`.
      skipped_steps: steps whose loss, gradient or update was not finite.
    """

    solved: bool
    steps: int
    errors: list[float]
    skipped_steps: int


def grid(
    cells: Sequence[str], lengths: Mapping[str, Sequence[int]], seeds: int, hidden_size: int
) -> list[Point]:
    """All combinations of tasks, lengths, cells and seeds, ordered to minimize compilations.

    Raises:
      InputError: an unknown cell or init, or a length that is too short for its task.
    """
    places = [(task, T, cell) for task in lengths for T in lengths[task] for cell in cells]
    for task, T, name in places:
        cell, init = cell_and_init(name, hidden_size, T)
        check(cell, TASKS[task], T, init)
    return [Point(*place, seed) for place in places for seed in range(seeds)]


def task_model(cell: Cell, task: Task, init: Initializer, key: Key[Array, ""]) -> SequenceModel:
    """A newly initialized network: a cell, and a linear layer on each of its outputs.

    Raises:
      InputError: an `init` that does not suit the cell.
    """
    return SequenceModel(cell, task.input_size, task.output_size, init=init, rngs=nnx.Rngs(key))


def check(cell: Cell, task: Task, length: int, init: Initializer) -> None:
    """Raise InputError unless the task has examples of this length and the init suits the cell."""
    if length < task.min_length:
        raise InputError(f"this task takes at least {task.min_length} time steps, got {length}.")
    nnx.eval_shape(lambda: task_model(cell, task, init, jax.random.key(0)))


def make_attempt(
    cell: Cell,
    task: Task,
    length: int,
    *,
    criterion: float,
    max_steps: int,
    check_every: int,
    batch_size: int,
    test_examples: int,
    learning_rate: float,
    clip_norm: float,
    devices: Mesh,
) -> Callable[[int, Initializer], Attempt]:
    """Make a function `attempt(seed, init)` that trains a network until it solves a task.

    Example n of a seed is always the same. Each step and each test uses new examples. All seeds
    share the compiled functions.

    Args:
      cell: the cell.
      task: the task.
      length: T, the number of time steps.
      criterion: test error below which the task is solved; see `last_steps_error`.
      max_steps: maximum number of training steps.
      check_every: number of steps between two tests.
      batch_size: number of examples per step.
      test_examples: number of examples per test.
      learning_rate: learning rate of Adam.
      clip_norm: maximum global norm of the gradient.
      devices: the mesh.
    """
    optimizer = optax.chain(clip_by_global_norm(clip_norm), optax.adam(learning_rate))
    indices = np.arange(check_every * batch_size).reshape(check_every, batch_size)

    def loss(model, keys, _):
        xs, targets = task.sample(keys, length)
        return last_steps_loss(model(xs)[1], targets), {}

    @jax.jit
    def test(params, keys):
        xs, targets = task.sample(keys, length)
        return last_steps_error(nnx.merge(graphdef, params)(xs)[1], targets)

    create = functools.partial(task_model, cell, task)
    graphdef, start, step = make_training(create, loss, optimizer, devices)

    def attempt(seed, init):
        state, done, errors = start(seed, init), 0, []
        while done < max_steps:
            count = min(check_every, max_steps - done)
            keys = examples(seed, done * batch_size, indices.size, devices)
            state, _ = step.many(state, keys, indices, count)
            first = FIRST_TEST + len(errors) * test_examples
            keys = examples(seed, first, test_examples, devices)
            errors.append(float(test(state.params, keys)))
            gave_up, done = int(state.step) < done + count, int(state.step)
            if gave_up or errors[-1] < criterion:
                break
        return Attempt(errors[-1] < criterion, done, errors, int(state.skipped))

    return attempt


def solve(
    points: Iterable[Point], hidden_size: int, devices: Mesh, **settings: Any
) -> Iterator[dict]:
    """Train each point of a grid; yield its row, with the duration in seconds.

    Args:
      points: points of a `grid`.
      hidden_size: hidden units of each cell.
      devices: the mesh.
      settings: the options of `make_attempt` after `length`.
    """

    @functools.lru_cache(maxsize=1)
    def compiled(cell, task, T):
        return make_attempt(cell, TASKS[task], T, devices=devices, **settings)

    def train(point):
        cell, init = cell_and_init(point.cell, hidden_size, point.T)
        return compiled(cell, point.task, point.T)(point.seed, init)

    return timed_rows(points, train)
