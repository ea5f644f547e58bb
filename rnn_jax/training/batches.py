"""The examples of each training step, a pure function of seed and step, so that runs can resume."""

import dataclasses
import functools

import numpy as np

from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Int


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_examples).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class BatchOrder:
    """Batches of shuffled examples, a pure function of (seed, step).

    Every epoch visits the examples in a new order, in whole batches. Remaining examples that do not
    fill a batch are left out of that epoch.

    Raises:
      InputError: an empty batch, a batch larger than the data set, or a negative seed.
    """

    seed: int
    num_examples: int
    batch_size: int

    def __post_init__(self):
        check_size("batch_size", self.batch_size)
        check_size("seed", self.seed, least=0)
        if self.batch_size > self.num_examples:
            raise InputError(
                f"a batch of {self.batch_size} is larger than the data set of {self.num_examples} "
                f"examples; take a batch size of at most {self.num_examples}."
            )

    def indices(self, first_step: int, num_steps: int) -> Int[np.ndarray, "{num_steps} B"]:
        """The examples of `num_steps` steps, starting with `first_step`."""
        return np.stack([self._batch(first_step + i) for i in range(num_steps)])

    def _batch(self, step):
        epoch, batch = divmod(step, self.num_examples // self.batch_size)
        order = _epoch_order(self.seed, epoch, self.num_examples)
        return order[batch * self.batch_size : (batch + 1) * self.batch_size]


@dataclasses.dataclass(frozen=True)
class StreamOrder:
    """Consecutive windows of `batch_size` streams; stream b is always at position b of the batch.

    Example b * num_windows + w of the data set is window w of stream b: arrays
    [B, windows * T, ...] reshaped to [B * windows, T, ...]. After the last window comes the first.

    Raises:
      InputError: a batch without streams, or streams without windows.
    """

    num_windows: int
    batch_size: int

    def __post_init__(self):
        check_size("num_windows", self.num_windows)
        check_size("batch_size", self.batch_size)

    def indices(self, first_step: int, num_steps: int) -> Int[np.ndarray, "{num_steps} B"]:
        """The examples of `num_steps` steps, starting with `first_step`."""
        windows = (first_step + np.arange(num_steps)) % self.num_windows
        starts = self.num_windows * np.arange(self.batch_size)
        return (windows[:, None] + starts).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class BucketOrder:
    """Shuffled batches of sequences of similar lengths, so that batches have little padding.

    Every epoch shuffles the examples, sorts each `pool` of batches by length, and shuffles the
    batches: a pure function of (seed, step). Remaining examples that do not fill a batch are left
    out of that epoch.

    Attributes:
      lengths: the length of each sequence of the data set.
      pool: the number of batches that are sorted together.

    Raises:
      InputError: as for `BatchOrder`.
    Reference: Khomenko et al. (2016), "Accelerating recurrent neural network training using
      sequence bucketing and multi-GPU data parallelization".
    """

    seed: int
    lengths: tuple[int, ...]
    batch_size: int
    pool: int = 16

    def __post_init__(self):
        BatchOrder(self.seed, len(self.lengths), self.batch_size)
        check_size("pool", self.pool)

    def indices(self, first_step: int, num_steps: int) -> Int[np.ndarray, "{num_steps} B"]:
        """The examples of `num_steps` steps, starting with `first_step`."""
        return np.stack([self._batch(first_step + i) for i in range(num_steps)])

    def _batch(self, step):
        epoch, batch = divmod(step, len(self.lengths) // self.batch_size)
        return _bucket_epoch(self, epoch)[batch]


@functools.lru_cache(maxsize=2)
def _bucket_epoch(order: BucketOrder, epoch: int) -> np.ndarray:
    """All batches of an epoch [batches, B]."""
    size, lengths = order.batch_size, np.array(order.lengths)
    examples = _epoch_order(order.seed, epoch, len(lengths))[: len(lengths) // size * size]
    pools = np.split(examples, range(order.pool * size, len(examples), order.pool * size))
    by_length = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    batches = np.concatenate(by_length).reshape(-1, size)
    return np.random.default_rng((order.seed, epoch, 1)).permutation(batches)


Order = BatchOrder | BucketOrder | StreamOrder
"""An order of examples, with the method `indices` and the attribute `batch_size`."""
