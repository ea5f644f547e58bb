"""Training on batches from a Grain pipeline equals training on data in memory."""

import pickle

import jax
import numpy as np
import pytest
from cut import cut_at, rows
from small_runs import STEPS, SmallRun, assert_same, few_examples

from rnn_jax import InputError, RunError
from rnn_jax.datasets.sources import Arrays, Mapped, Source, mapped
from rnn_jax.training.batches import BatchOrder
from rnn_jax.training.commands.config import TrainConfig
from rnn_jax.training.devices.sharding import data_mesh
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.checkpoint_files import read_contents

pytest.importorskip("grain")

from rnn_jax.training import stream

THREAD, WORKERS = {"data_in": "stream"}, {"data_in": "stream", "data_workers": 2}


@pytest.fixture(scope="module")
def examples():
    return jax.device_get(few_examples())


@pytest.fixture(scope="module")
def lstm():
    return SmallRun()


@pytest.fixture(scope="module")
def whole(lstm, examples, tmp_path_factory):
    """The last state and the rows of a run in memory."""
    folder = tmp_path_factory.mktemp("whole")
    return lstm(folder, examples), rows(folder)


class Doubled(Source):
    """Features that are computed from stored arrays when they are needed."""

    def __init__(self, xs, labels, fault=None):
        self.xs, self.labels, self.fault = xs, labels, fault

    def __len__(self):
        return len(self.xs)

    def __getitem__(self, indices):
        if self.fault is not None and 17 in indices:
            raise self.fault
        return 2 * self.xs[indices], self.labels[indices]


@pytest.mark.parametrize("flags", [THREAD, WORKERS], ids=["thread", "workers"])
def test_a_streamed_run_equals_one_in_memory(lstm, examples, whole, tmp_path, flags):
    assert_same(lstm(tmp_path, examples, **flags), whole[0])
    assert rows(tmp_path) == whole[1]


@pytest.mark.parametrize("flags", [THREAD, WORKERS], ids=["thread", "workers"])
def test_a_streamed_run_on_two_devices_equals_one_in_memory(examples, tmp_path, flags):
    run = SmallRun(devices=2)
    want, got = (run(tmp_path / name, examples, **f) for name, f in [("a", {}), ("b", flags)])
    assert_same(got, want)
    assert rows(tmp_path / "b") == rows(tmp_path / "a")


@pytest.mark.parametrize(
    "before, after", [(THREAD, THREAD), ({}, THREAD), (THREAD, {}), (WORKERS, THREAD)]
)
def test_a_run_that_is_cut_off_continues_from_the_saved_iterator(
    lstm, examples, whole, tmp_path, before, after
):
    with cut_at(7):
        lstm(tmp_path, examples, **before, checkpoint_every=7)
    facts = read_contents(tmp_path / "checkpoints" / "step_7", 7)["facts"]
    assert facts["iterator"] == {"next_step": 7}
    assert_same(lstm(tmp_path, examples, **after, resume=True), whole[0])
    assert rows(tmp_path) == whole[1]


def test_a_checkpoint_without_an_iterator_still_loads(lstm, examples, whole, tmp_path, monkeypatch):
    save = Checkpoints.save

    def save_as_before(self, step, tree, facts, **options):
        facts.pop("iterator")
        save(self, step, tree, facts, **options)

    with monkeypatch.context() as patch, cut_at(7):
        patch.setattr(Checkpoints, "save", save_as_before)
        lstm(tmp_path, examples, checkpoint_every=7)
    assert_same(lstm(tmp_path, examples, **THREAD, resume=True), whole[0])


def test_calls_of_few_bytes_and_batches_of_one_array_change_nothing(
    lstm, examples, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(stream, "CALL_BYTES", 1)
    assert_same(lstm(tmp_path, examples, **THREAD), whole[0])
    assert rows(tmp_path) == whole[1]


def test_a_source_is_loaded_or_read_with_the_same_result(lstm, examples, tmp_path):
    source, (xs, labels) = Doubled(*examples), examples
    want = lstm(tmp_path / "arrays", (2 * xs, labels))
    assert_same(lstm(tmp_path / "loaded", source), want)
    assert_same(lstm(tmp_path / "read", source, **THREAD), want)


def test_a_memory_map_is_read_without_its_size_in_memory(lstm, examples, whole, tmp_path):
    for name, array in zip(("xs", "labels"), examples, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    data = tuple(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("xs", "labels"))
    assert_same(lstm(tmp_path / "run", data, **THREAD), whole[0])
    assert len(pickle.dumps(Arrays(data))) < 2000 < data[0].nbytes


@pytest.mark.parametrize("part", [slice(None), slice(3, 9), slice(1000, 1001)])
@pytest.mark.parametrize("shape", [(2000,), (500, 4)])
def test_a_part_of_a_memory_map_is_pickled_by_its_place(tmp_path, part, shape):
    np.save(tmp_path / "a.npy", np.arange(2000, dtype=np.int16).reshape(shape))
    view = np.load(tmp_path / "a.npy", mmap_mode="r").reshape(2000, -1)[part]
    again = pickle.loads(pickle.dumps(mapped(view)))
    assert isinstance(again, Mapped) and len(again) == len(view)
    np.testing.assert_array_equal(again[:], view)
    assert type(again[np.array([0])]) is np.ndarray


def test_arrays_that_cannot_be_mapped_are_kept(tmp_path):
    changed = np.memmap(tmp_path / "a", np.uint8, "w+", shape=(4, 4))
    for array in (changed, np.zeros(3), [1, 2]):
        assert type(mapped(array)) in (np.ndarray, np.memmap)


def test_arrays_of_different_lengths_are_an_error():
    with pytest.raises(InputError, match=r"one example for each index of axis 0, got .*\[2, 3\]"):
        Arrays((np.zeros(2), np.zeros(3)))


def test_a_source_whose_shapes_change_is_an_error(lstm, examples, tmp_path):
    class Ragged(Doubled):
        def __getitem__(self, indices):
            xs, labels = super().__getitem__(indices)
            return xs[:, : 3 + 2 * (0 in indices)], labels

    first = BatchOrder(0, len(examples[0]), 8).indices(0, 5)
    assert sum(0 in batch for batch in first) == 1
    with pytest.raises(InputError, match=r"equal shapes and dtypes, got examples of float32\["):
        lstm(tmp_path, Ragged(*examples), **THREAD)


@pytest.mark.parametrize("flags", [THREAD, WORKERS], ids=["thread", "workers"])
def test_an_error_of_a_source_reaches_the_user(lstm, examples, tmp_path, flags):
    source = Doubled(*examples, fault=InputError("example 17 cannot be decoded; remove it."))
    with pytest.raises(InputError, match="example 17 cannot be decoded"):
        lstm(tmp_path, source, **flags)


def test_a_worker_that_dies_is_one_sentence(lstm, examples, tmp_path):
    class Deadly(Doubled):
        def __getitem__(self, indices):
            import multiprocessing
            import os

            if multiprocessing.parent_process() is not None:
                os._exit(9)
            return super().__getitem__(indices)

    with pytest.raises(RunError, match=r"a data worker has failed .*`resume=True`"):
        lstm(tmp_path, Deadly(*examples), **WORKERS)


def test_workers_need_a_stream(tmp_path):
    with pytest.raises(InputError, match="--data-workers needs --data-in stream"):
        TrainConfig(out_dir=tmp_path, data_workers=2).check()


def test_a_device_holds_its_share_of_one_call_only(examples):
    order, mesh = BatchOrder(0, len(examples[0]), 8), data_mesh(8, 4)
    with stream.Streamed(examples, order, STEPS, log_every=5, mesh=mesh) as feed:
        (xs, _), indices = feed.inputs(3)
    assert xs.sharding.shard_shape(xs.shape) == (5 * 2, *examples[0].shape[1:])
    for device, shard in enumerate(xs.addressable_shards):
        want = examples[0][order.indices(0, 3)[:, 2 * device : 2 * device + 2]]
        np.testing.assert_array_equal(np.asarray(shard.data)[indices[:3]], want)
