"""Processes of one run that differ are reported before training."""

import jax
import pytest

from rnn_jax.errors import InputError, RunError
from rnn_jax.training.devices import agreement


@pytest.fixture
def two_processes(monkeypatch):
    """Two processes; the other one reports the value that a test sets as `other`."""
    said = {}
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(agreement, "_gathered", lambda facts: [facts, facts | said])
    return said


def test_processes_that_restore_different_checkpoints_stop(two_processes):
    agreement.check_restored(20)
    two_processes["step of the checkpoint restored"] = "10"
    with pytest.raises(RunError, match="step of the checkpoint restored 10, not 20"):
        agreement.check_restored(20)


def test_processes_with_different_data_do_not_start(two_processes):
    agreement.check_data([jax.numpy.ones(3)])
    two_processes["data"] = "0123456789ab"
    with pytest.raises(InputError, match="data 0123456789ab, not"):
        agreement.check_data([jax.numpy.ones(3)])
