"""Training from scratch until a task is solved, again and again: compiled once for all seeds."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from rnn_jax.cells import CELLS
from rnn_jax.cells.base import Cell
from rnn_jax.cells.registry import find_cell
from rnn_jax.datasets.memory_tasks import (
    TASKS,
    Task,
    example_keys,
    last_steps_error,
    last_steps_loss,
)
from rnn_jax.errors import InputError
from rnn_jax.initializers import Chrono, Default, Initializer, parse_init
from rnn_jax.models.sequence import SequenceModel
from rnn_jax.numerics import clip_by_global_norm
from rnn_jax.training.devices.sharding import replicated
from rnn_jax.training.state import first_state
from rnn_jax.training.step import make_train_step
from rnn_jax.typing import Array, Key

FIRST_TEST, PARAMETERS = 2**31, 2**32 - 1
"""The number of the first test example, those below it being for training; and one of no example,
for the parameters."""


class Point(NamedTuple):
    """One training of the grid."""

    task: str
    T: int
    cell: str
    seed: int


class Attempt(NamedTuple):
    """How one training went.

    Attributes:
      solved: whether the last error was below the criterion.
      steps: training steps taken.
      errors: those of the tests, one after each `check_every` steps, see `last_steps_error`.
      skipped_steps: steps whose loss, gradient or update was not finite.
    """

    solved: bool
    steps: int
    errors: list[float]
    skipped_steps: int


def cell_and_init(variant: str, hidden_size: int, length: int) -> tuple[Cell, Initializer]:
    """The cell and the initializer of a variant: `name`, `name:init`, or `module:Class`.

    `chrono` without a number is for memories of 1 to `length` steps.

    Raises:
      InputError: there is no cell or initializer of this name.
    """
    name, _, init = variant.partition(":")
    if name not in CELLS:
        return find_cell(variant, hidden_size), Default()
    chosen = Chrono(length) if init == "chrono" else parse_init(init or "default")
    return find_cell(name, hidden_size), chosen


def grid(
    cells: Sequence[str], lengths: Mapping[str, Sequence[int]], seeds: int, hidden_size: int
) -> list[Point]:
    """Every task of `TASKS` at its lengths, by every cell, in the order that compiles least.

    Raises:
      InputError: a cell or an init that there is not, a length that is too short for its task.
    """
    places = [(task, T, cell) for task in lengths for T in lengths[task] for cell in cells]
    for task, T, name in places:
        cell, init = cell_and_init(name, hidden_size, T)
        check(cell, TASKS[task], T, init)
    return [Point(*place, seed) for place in places for seed in range(seeds)]


def task_model(cell: Cell, task: Task, init: Initializer, key: Key[Array, ""]) -> SequenceModel:
    """A network newly drawn: a cell, and a linear layer on each of its outputs.

    Raises:
      InputError: an `init` that does not suit the cell.
    """
    return SequenceModel(cell, task.input_size, task.output_size, init=init, rngs=nnx.Rngs(key))


def check(cell: Cell, task: Task, length: int, init: Initializer) -> None:
    """Raise InputError unless the task has examples of this length and the init suits the cell."""
    if length < task.min_length:
        raise InputError(f"this task takes at least {task.min_length} time steps, got {length}.")
    _blank(cell, task, init)


def _blank(cell, task, init=Default()):
    return nnx.eval_shape(lambda: task_model(cell, task, init, jax.random.key(0)))


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
    """The function `attempt(seed, init)` that trains a network until it has solved a task.

    Example n of a seed is always the same; each step and each test takes examples that no other
    has seen. What is compiled in a first attempt serves those of other seeds.

    Args:
      cell, task: what is to learn, and what.
      length: T, the time steps of an example.
      criterion: the error of a test below which the task is solved, see `last_steps_error`.
      max_steps: training steps after which an attempt is given up.
      check_every: steps between two tests.
      batch_size: examples of a step.
      test_examples: examples of a test.
      learning_rate: Adam's.
      clip_norm: the global norm that no gradient exceeds.
      devices: the mesh to train on.
    """
    optimizer = optax.chain(clip_by_global_norm(clip_norm), optax.adam(learning_rate))
    graphdef = nnx.graphdef(_blank(cell, task))
    numbers, everywhere = np.arange(check_every * batch_size), replicated(devices)
    indices = numbers.reshape(check_every, batch_size)

    @functools.partial(jax.jit, static_argnames="init")
    def start(seed, init):
        key = jax.random.fold_in(jax.random.key(seed), PARAMETERS)
        model = task_model(cell, task, init, key)
        return first_state(nnx.state(model, nnx.Param), optimizer, seed)

    def loss(model, keys, _):
        xs, targets = task.sample(keys, length)
        return last_steps_loss(model(xs)[1], targets), {}

    @jax.jit
    def test(params, keys):
        xs, targets = task.sample(keys, length)
        return last_steps_error(nnx.merge(graphdef, params)(xs)[1], targets)

    def examples(seed, first, count):
        return jax.device_put(example_keys(seed, first + np.arange(count)), everywhere)

    step = make_train_step(graphdef, loss, optimizer, devices)

    def attempt(seed, init):
        state = jax.device_put(jax.block_until_ready(start(seed, init)), everywhere)
        done, errors = 0, []
        while done < max_steps:
            count = min(check_every, max_steps - done)
            keys = examples(seed, done * batch_size, len(numbers))
            state, _ = step.many(state, keys, indices, count)
            keys = examples(seed, FIRST_TEST + len(errors) * test_examples, test_examples)
            errors.append(float(test(state.params, keys)))
            gave_up, done = int(state.step) < done + count, int(state.step)
            if gave_up or errors[-1] < criterion:
                break
        return Attempt(errors[-1] < criterion, done, errors, int(state.skipped))

    return attempt
