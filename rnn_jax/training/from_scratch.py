"""Training from scratch on examples that are sampled on the fly, compiled once for all seeds."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from rnn_jax.cells import CELLS
from rnn_jax.cells.base import Cell
from rnn_jax.cells.registry import find_cell, takes
from rnn_jax.datasets.memory_tasks import example_keys
from rnn_jax.errors import InputError
from rnn_jax.initializers import Chrono, Default, Initializer, parse_init
from rnn_jax.training.devices.sharding import replicated
from rnn_jax.training.state import TrainState, first_state
from rnn_jax.training.step import Loss, TrainStep, make_train_step
from rnn_jax.typing import Array, Key

FIRST_TEST, PARAMETERS = 2**31, 2**32 - 1
"""Number of the first test example, above all training examples, and a number for the parameters
that no example has."""


def cell_and_init(
    variant: str, hidden_size: int, length: int | None = None
) -> tuple[Cell, Initializer]:
    """The cell and the initializer of a variant.

    A variant is `name`, `name:init`, `name:field=number` with a field of the cell, or
    `module:Class`. `chrono` without a number is for memories of 1 to `length` steps.

    Raises:
      InputError: there is no cell, field or initializer of this name.
    """
    name, _, choice = variant.partition(":")
    if name not in CELLS:
        return find_cell(variant, hidden_size), Default()
    cell = find_cell(name, hidden_size)
    field, _, value = choice.partition("=")
    if value and takes(cell, field):
        return _with_number(cell, field, value), Default()
    if choice == "chrono" and length is not None:
        return cell, Chrono(length)
    return cell, parse_init(choice or "default")


def _with_number(cell, field, value):
    try:
        number = float(value)
    except ValueError:
        raise InputError(f"{field} of a cell must be a number here, got {value!r}.") from None
    return dataclasses.replace(cell, **{field: number})


class Training(NamedTuple):
    """The compiled parts of a training run.

    Attributes:
      graphdef: the graph definition of the model.
      start: `start(seed, init) -> state`, with newly initialized parameters on every device.
      step: the training step.
    """

    graphdef: nnx.GraphDef
    start: Callable[[int, Initializer], TrainState]
    step: TrainStep


def make_training(
    create: Callable[[Initializer, Key[Array, ""]], nnx.Module],
    loss: Loss,
    optimizer: optax.GradientTransformation,
    devices: Mesh,
) -> Training:
    """Make the parts of a training run that all seeds share.

    Args:
      create: `create(init, key)` returns a newly initialized model.
      loss: see `rnn_jax.training.step.Loss`.
      optimizer: any Optax optimizer.
      devices: the mesh.
    """
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: create(Default(), jax.random.key(0))))

    @functools.partial(jax.jit, static_argnames="init")
    def first(seed, init):
        key = jax.random.fold_in(jax.random.key(seed), PARAMETERS)
        return first_state(nnx.state(create(init, key), nnx.Param), optimizer, seed)

    def start(seed, init):
        return jax.device_put(jax.block_until_ready(first(seed, init)), replicated(devices))

    return Training(graphdef, start, make_train_step(graphdef, loss, optimizer, devices))


def examples(seed: int, first: int, count: int, devices: Mesh) -> Key[Array, " {count}"]:
    """Keys of the examples `first` to `first + count - 1` of a seed, on every device."""
    return jax.device_put(example_keys(seed, first + np.arange(count)), replicated(devices))
