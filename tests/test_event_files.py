"""TensorBoard event files hold the rows of a run."""

import struct
import sys

import pytest
from small_runs import SmallRun, few_examples
from tensorboardX.proto.event_pb2 import Event

from rnn_jax.errors import InputError, check_extra


def scalars(folder):
    """All (name, step) of the event files in a folder."""
    found = set()
    for path in folder.glob("events.out.tfevents.*"):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found |= {(value.tag, event.step) for value in event.summary.value}
            data = data[16 + size :]
    return found


def test_a_run_writes_its_rows_as_events(tmp_path):
    SmallRun()(tmp_path, few_examples(), tensorboard=True)
    names = "loss", "batch_accuracy", "grad_norm", "learning_rate"
    assert {(name, step) for name in names for step in (5, 10, 12)} <= scalars(tmp_path)


def test_a_run_writes_no_events_by_default(tmp_path):
    SmallRun()(tmp_path, few_examples())
    assert not scalars(tmp_path)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match="tensorboardX; install it with"):
        check_extra("--tensorboard", "tensorboardX", "tensorboard")
