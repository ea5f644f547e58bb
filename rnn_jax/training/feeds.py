"""The examples of each call of the training step: the interface, and data sets in memory."""

import abc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from rnn_jax.datasets.sources import Source
from rnn_jax.training.batches import Order
from rnn_jax.training.devices.sharding import replicated
from rnn_jax.training.state import batch_of
from rnn_jax.training.step import TrainStep
from rnn_jax.typing import Data

MOST_INDICES = 2**20
"""Maximum number of examples in one compiled call, which bounds the memory of their indices."""


class Feed(abc.ABC):
    """The examples of all steps, in calls of up to `length` steps; a context for its readers.

    Args:
      order: the examples of each step.
      length: the maximum number of steps in one compiled call, which fixes the compiled shape.
    """

    def __init__(self, order: Order, length: int):
        self.order, self.length = order, length
        self.next_step = 0

    @abc.abstractmethod
    def function(self, step: TrainStep) -> Callable:
        """The compiled function that takes these inputs."""

    @abc.abstractmethod
    def example(self) -> tuple[Data, np.ndarray]:
        """Inputs with the shapes of every call, for compilation."""

    @abc.abstractmethod
    def inputs(self, steps: int) -> tuple[Data, np.ndarray]:
        """The data and the indices of the next `steps` steps; see `TrainStep`."""

    @abc.abstractmethod
    def batch(self, step: int) -> Data:
        """The whole batch of a step as NumPy arrays [B, ...]."""

    def get_state(self) -> dict[str, Any]:
        """The position, as JSON data for a checkpoint."""
        return {"next_step": self.next_step}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue at the position of a checkpoint."""
        self.next_step = state["next_step"]

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_) -> None:
        return


class InMemory(Feed):
    """A data set of which every device of a mesh holds a full copy.

    Args:
      data: arrays [N, ...], or a source, which is loaded.
      order: the examples of each step.
      log_every: steps between two rows of metrics.
      mesh: the devices.
    """

    def __init__(self, data: Data | Source, order: Order, log_every: int, mesh: Mesh):
        super().__init__(order, call_length(order, log_every))
        self._host = data.load() if isinstance(data, Source) else data
        self._data = jax.device_put(self._host, replicated(mesh))

    def function(self, step: TrainStep) -> Callable:
        """`TrainStep.many`."""
        return step.many

    def example(self) -> tuple[Data, np.ndarray]:
        """The data, and indices with the shape of every call."""
        return self._data, np.zeros((self.length, self.order.batch_size), np.int32)

    def inputs(self, steps: int) -> tuple[Data, np.ndarray]:
        """The data, and indices that are padded with zeros to `length` steps."""
        indices = self.order.indices(self.next_step, steps)
        self.next_step += steps
        return self._data, np.pad(indices, ((0, self.length - steps), (0, 0)))

    def batch(self, step: int) -> Data:
        """The whole batch of a step as NumPy arrays [B, ...]."""
        return jax.device_get(batch_of(self._host, self.order.indices(step, 1)[0]))


def call_length(order: Order, log_every: int) -> int:
    """Maximum number of steps in one compiled call, for a row every `log_every` steps."""
    return max(1, min(log_every, MOST_INDICES // order.batch_size))
