"""The networks to measure, each with its batch: newly drawn ones, or the trained one of a run."""

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
    """One network to measure: the grid is made of these."""

    cell: str
    init: str
    T: int
    seed: int


class Net(NamedTuple):
    """The parameters of a cell, and of the linear layer that reads its outputs."""

    cell: Params
    w: Float[Array, "H C"]
    b: Float[Array, " C"]


class Subject(NamedTuple):
    """A network and what it reads."""

    cell: Cell
    net: Net
    batch: Batch


class Drawn:
    """Networks newly drawn: each cell, initialised in each way, at each length, for each seed.

    Attributes:
      points: what can be measured, in the order in which the least is compiled.
      skipped: for each cell and initialisation that do not go together, why.

    Raises:
      InputError: an unknown initialisation, a length too short for the task, nothing to measure.
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
                "take longer ones or another --task."
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
        """The network and the batch of a point; those of one seed share all that they can."""
        cell = self._cells[point.cell]
        key, key_data = jax.random.split(jax.random.key(point.seed))
        net = _draw(key, cell, point.init, self._task, point.T)
        keys = jax.random.split(key_data, self._batch_size)
        return Subject(cell, net, self._task.sample(keys, point.T))


class Trained:
    """The network of a run, before and after its training, on batches of its own test images.

    Attributes:
      points: the network before and after, once for each seed, which draws the batch.
      skipped: nothing.

    Raises:
      InputError: no finished run there; its data cannot be loaded.
    """

    skipped: Mapping[str, str] = {}

    def __init__(self, run: Path, seeds: int, batch_size: int, data_dir: Path | None):
        model, settings = saved_runs.load_run(run)
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
        """The network and a batch; what its input layer makes of the images counts as input."""
        model = self._models[point.init]
        random = np.random.default_rng(point.seed)
        chosen = random.choice(len(self._xs), self._batch_size, replace=False)
        xs = jnp.moveaxis(jnp.asarray(self._xs[chosen]), 0, 1)
        if model.projection is not None:
            xs = dot(xs, model.projection.kernel[...]) + model.projection.bias[...]
        net = Net(model.rnn.weights(), model.output.kernel[...], model.output.bias[...])
        return Subject(model.rnn.cell, net, Batch(xs, jnp.asarray(self._labels[chosen])[None]))


def _draw(key, cell, init, task, T):
    key_cell, key_w = jax.random.split(key)
    initializer = Chrono(T) if init == "chrono" else parse_init(init)
    params = initializer(cell, key_cell, task.input_size)
    w = lecun_normal()(key_w, (cell.output_size, task.output_size), jnp.float32)
    return Net(params, w, jnp.zeros(task.output_size))


def _misfit(cell, init, task, T):
    """Why this cell cannot be initialised so, or None; an init that none can be is an error."""
    if init != "chrono":
        parse_init(init)
    if cell.spatial_axes:
        return f"{type(cell).__name__} reads pictures, and the tasks are sequences of vectors"
    if not hasattr(jax.eval_shape(cell.initial_carry), "_fields"):
        return f"the carry of {type(cell).__name__} must be a NamedTuple"
    try:
        jax.eval_shape(lambda key: _draw(key, cell, init, task, T), jax.random.key(0))
    except InputError as error:
        return str(error)
    return None
