"""Batches from a Grain pipeline, for training sets larger than device or host memory.

Element s of the pipeline is the batch of step s, read at the indices that `BatchOrder` or
`StreamOrder` gives. Grain reads ahead, in a thread or in worker processes, while the devices
compute. It does not choose the order: `MapDataset.shuffle` would give a streamed run different
batches from a run in memory; this way, both are bitwise equal.

The state of the iterator in a checkpoint is the next step. A resumed run slices the pipeline there,
with any number of workers, processes and devices. Grain's own state, from `get_state`, holds a
position for each worker, so it is valid only for the same number of workers.
"""

import functools
import gc
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rnn_jax.datasets.sources import Arrays, Source
from rnn_jax.errors import InputError, RunError
from rnn_jax.files import reason
from rnn_jax.training.batches import Order
from rnn_jax.training.commands.config import TrainConfig
from rnn_jax.training.commands.signals import SIGNALS
from rnn_jax.training.feeds import Feed, InMemory, call_length
from rnn_jax.training.step import TrainStep
from rnn_jax.typing import Data

CALL_BYTES = 2**24
"""Maximum bytes of one compiled call [16 MiB]. About four times as many are in memory at a time;
those of workers fit in the 64 MiB of shared memory that containers have by default."""


def make_feed(
    config: TrainConfig, data: Data | Source, order: Order, steps: int, mesh: Mesh
) -> Feed:
    """The feed of a run, as specified by its options `data_in` and `data_workers`."""
    if config.data_in == "memory":
        return InMemory(data, order, config.log_every, mesh)
    return Streamed(data, order, steps, config.log_every, mesh, config.data_workers)


class Streamed(Feed):
    """A data set of which each device holds its share of one call.

    Args:
      data: a source, or arrays [N, ...], which may be memory-mapped.
      order: the examples of each step.
      steps: number of steps of the run.
      log_every: steps between two rows of metrics.
      mesh: the devices.
      workers: number of processes that read; 0 for a thread of this process.
    """

    def __init__(
        self,
        data: Data | Source,
        order: Order,
        steps: int,
        log_every: int,
        mesh: Mesh,
        workers: int = 0,
    ):
        self._source = data if isinstance(data, Source) else Arrays(data)
        self._steps, self._workers = steps, workers
        first = self._source[order.indices(0, 1)[0]]
        leaves, self._structure = jax.tree.flatten(first)
        self._shapes = [(leaf.shape[1:], leaf.dtype) for leaf in leaves]
        # XLA rounds a loop of one step differently from a loop of several.
        most = max(2, CALL_BYTES // max(1, sum(leaf.nbytes for leaf in leaves)))
        super().__init__(order, min(call_length(order, log_every), most))
        own = [d.process_index == jax.process_index() for d in mesh.devices.ravel()]
        self._devices, self._share = sum(own), order.batch_size // mesh.size
        start = own.index(True) * self._share
        self._columns = slice(start, start + self._devices * self._share)
        self._split = NamedSharding(mesh, PartitionSpec("data"))
        self._batches: Any = None

    def function(self, step: TrainStep) -> Callable:
        """`TrainStep.many_split`."""
        return step.many_split

    def example(self) -> tuple[Data, np.ndarray]:
        """Zeros with the shapes of every call."""
        return self._placed(self._empty())

    def inputs(self, steps: int) -> tuple[Data, np.ndarray]:
        """The next `steps` batches, padded with zeros to `length` steps.

        Raises:
          InputError: a batch has different shapes or dtypes from the first.
          RunError: a worker has failed.
        """
        if self._batches is None:
            self._batches = self._read_ahead()
        call = self._empty()
        for step in range(steps):
            for leaf, (shape, dtype), part in zip(self._next(), self._shapes, call, strict=True):
                if (leaf.shape[1:], leaf.dtype) != (shape, dtype):
                    raise InputError(
                        f"all batches of a source must have equal shapes and dtypes, got examples "
                        f"of {leaf.dtype}{list(leaf.shape[1:])} at step {self.next_step + 1} and "
                        f"of {dtype}{list(shape)} at step 1."
                    )
                part[:, step] = leaf.reshape(self._devices, self._share, *shape)
            self.next_step += 1
        return self._placed(call)

    def batch(self, step: int) -> Data:
        """The whole batch of a step as NumPy arrays [B, ...]."""
        return self._source[self.order.indices(step, 1)[0]]

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue at the position of a checkpoint."""
        self.__exit__()
        super().set_state(state)

    def __exit__(self, *_) -> None:
        if self._batches is not None:
            self._batches.close()
            self._batches = None
            gc.collect()  # Batches that workers left in shared memory are freed with the iterator.

    def _read_ahead(self):
        """Grain's iterator over the batches, starting at the next step, as lists of arrays."""
        from absl import flags

        grain = importlib.import_module("grain")
        steps = _Steps(self._source, self.order, self._columns, self._steps)
        rest = grain.MapDataset.source(steps)[self.next_step :]
        if not self._workers:
            return iter(rest.to_iter_dataset(grain.ReadOptions(1, self.length)))
        if not flags.FLAGS.is_parsed():  # Grain reads Abseil flags, which no command here has.
            flags.FLAGS.mark_as_parsed()
        share = -(-self.length // self._workers)
        options = grain.MultiprocessingOptions(self._workers, share)
        begin = functools.partial(_begin_worker, os.getpid())
        return iter(rest.to_iter_dataset(grain.ReadOptions(0, 0)).mp_prefetch(options, begin))

    def _next(self):
        try:
            return next(self._batches)
        except RuntimeError as error:
            if isinstance(error, RunError) or not self._workers:
                raise
            raise RunError(
                f"a data worker has failed ({reason(error)}); continue with `resume=True`, with "
                "fewer `data_workers` if memory is short."
            ) from error

    def _empty(self):
        """Zeros [devices of this process, steps, share of a device, ...] for each array."""
        lead = self._devices, self.length, self._share
        return [np.zeros((*lead, *shape), dtype) for shape, dtype in self._shapes]

    def _placed(self, call):
        """A call on the devices, and the indices that every device looks up in its share."""
        indices = np.arange(self.length * self._share, dtype=np.int32)
        rows = [part.reshape(-1, *part.shape[3:]) for part in call]
        split = [jax.make_array_from_process_local_data(self._split, each) for each in rows]
        return jax.tree.unflatten(self._structure, split), indices.reshape(self.length, -1)


class _Steps:
    """Batches of one process by step, for Grain."""

    def __init__(self, source, order, columns, steps):
        self._source, self._order, self._columns, self._steps = source, order, columns, steps

    def __len__(self):
        return self._steps

    def __getitem__(self, index):
        return jax.tree.leaves(self._source[self._order.indices(index, 1)[0][self._columns]])


def _begin_worker(parent, number, count):
    """Leave signals to the training process, and end when it ends, even if it is killed."""
    del number, count
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
