"""Networks to measure, each with its batch: newly initialized, or trained in a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flow_tasks import BUNDLED
from jax.nn.initializers import lecun_normal

from rnn_jax.cells.array_ops import dot
from rnn_jax.cells.base import Cell
from rnn_jax.cells.registry import find_cell
from rnn_jax.datasets import image_data
from rnn_jax.datasets.memory_tasks import Batch, Task
from rnn_jax.errors import InputError
from rnn_jax.initializers import Chrono, parse_init
from rnn_jax.models.factory import build_classifier
from rnn_jax.training.runs import saved_runs
from rnn_jax.typing import Array, Float, Params

BEFORE, AFTER = "untrained", "trained"


class Point(NamedTuple):
    """One network of the grid."""

    cell: str
    init: str
    T: int
    seed: int


class Net(NamedTuple):
    """Parameters of a cell and of the linear layer on its outputs."""

    cell: Params
    w: Float[Array, "H C"]
    b: Float[Array, " C"]


class Subject(NamedTuple):
    """A cell, its network parameters and a batch."""

    cell: Cell
    net: Net
    batch: Batch


class Initialized:
    """Newly initialized networks, one for each cell, initialization, length and seed.

    Attributes:
      points: the grid, in an order with few compilations.
      skipped: the reason for each incompatible pair of cell and initialization.

    Raises:
      InputError: an initialization is unknown, a length is too short for the task, or there is
        nothing to measure.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        inits: tuple[str, ...],
        lengths: tuple[int, ...],
        seeds: int,
        task: Task,
        hidden_size: int,
        batch_size: int,
    ):
        if min(lengths) < task.min_length:
            raise InputError(
                f"--lengths must be at least {task.min_length} for this task, got {min(lengths)}; "
                "choose longer ones or another --task."
            )
        self._task, self._batch_size = task, batch_size
        self._cells = {name: find_cell(name, hidden_size) for name in names}
        self.points, self.skipped = [], {}
        for name, cell in self._cells.items():
            for T in lengths:
                for init in inits:
                    if reason := _misfit(cell, init, task, T):
                        self.skipped[f"{name} {init}"] = reason
                    else:
                        self.points += [Point(name, init, T, seed) for seed in range(seeds)]
        if not self.points:
            raise InputError(next(iter(self.skipped.values())))

    def load(self, point: Point) -> Subject:
        """Network and batch of a point; points with the same seed share random numbers."""
        cell = self._cells[point.cell]
        key, key_data = jax.random.split(jax.random.key(point.seed))
        net = _initialize(key, cell, point.init, self._task, point.T)
        keys = jax.random.split(key_data, self._batch_size)
        return Subject(cell, net, self._task.sample(keys, point.T))


class Trained:
    """Network of a run, before and after training, on batches of its test images.

    Attributes:
      points: the network before and after training, for each seed of the batch.
      skipped: empty.

    Raises:
      InputError: there is no finished run, or its data cannot be loaded.
    """

    skipped: Mapping[str, str] = {}

    def __init__(self, run: Path, seeds: int, batch_size: int, data_dir: Path | None):
        model, settings = saved_runs.load_run(run, experiment="mnist_lstm")
        self._models = {BEFORE: build_classifier(settings), AFTER: model}
        images = image_data.load_images(settings["dataset"], data_dir, bundled=BUNDLED)
        self._xs = image_data.to_sequences(images.test_images, settings["sequence"])
        self._labels = images.test_labels
        self._batch_size = batch_size
        if batch_size > len(self._xs):
            raise InputError(
                f"--batch-size must be at most {len(self._xs)}, the test images of {run}; "
                f"got {batch_size}."
            )
        name, T = settings["cell"], self._xs.shape[1]
        self.points = [Point(name, when, T, seed) for when in self._models for seed in range(seeds)]

    def load(self, point: Point) -> Subject:
        """Network and batch, whose inputs are the outputs of the input projection."""
        model = self._models[point.init]
        random = np.random.default_rng(point.seed)
        chosen = random.choice(len(self._xs), self._batch_size, replace=False)
        xs = jnp.moveaxis(jnp.asarray(self._xs[chosen]), 0, 1)
        if model.projection is not None:
            xs = dot(xs, model.projection.kernel[...]) + model.projection.bias[...]
        net = Net(model.rnn.weights(), model.output.kernel[...], model.output.bias[...])
        return Subject(model.rnn.cell, net, Batch(xs, jnp.asarray(self._labels[chosen])[None]))


def _initialize(key, cell, init, task, T):
    key_cell, key_w = jax.random.split(key)
    initializer = Chrono(T) if init == "chrono" else parse_init(init)
    params = initializer(cell, key_cell, task.input_size)
    w = lecun_normal()(key_w, (cell.output_size, task.output_size), jnp.float32)
    return Net(params, w, jnp.zeros(task.output_size))


def _misfit(cell, init, task, T):
    """Reason why an initialization is not compatible with this cell, or None if it is."""
    if init != "chrono":
        parse_init(init)
    if cell.spatial_axes:
        return f"{type(cell).__name__} reads pictures, and the tasks are sequences of vectors"
    if not hasattr(jax.eval_shape(cell.initial_carry), "_fields"):
        return f"the carry of {type(cell).__name__} must be a NamedTuple"
    try:
        jax.eval_shape(lambda key: _initialize(key, cell, init, task, T), jax.random.key(0))
    except InputError as error:
        return str(error)
    return None
