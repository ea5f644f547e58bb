"""Runs interrupted by a signal, and comparisons of two runs."""

import contextlib
import dataclasses
import json
import os
import signal

import pytest

from rnn_jax.errors import Stopped
from rnn_jax.training import intervals
from rnn_jax.training.runs.metrics import METRICS


@contextlib.contextmanager
def cut_at(step, number=signal.SIGTERM):
    """Stop training by a signal in the call that ends at or after `step`."""
    call = intervals.interruptible

    def interrupted(function, *args):
        result = call(function, *args)
        if int(result[0].step) >= step:
            os.kill(os.getpid(), number)
        return result

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped) as stopped:
        patch.setattr(intervals, "interruptible", interrupted)
        yield stopped


def cut_and_resumed(main, config, step):
    """The summary of an experiment that was stopped at `step` and resumed."""
    with cut_at(step):
        main(dataclasses.replace(config, checkpoint_every=step))
    return main(dataclasses.replace(config, resume=True))


def rows(folder):
    """The rows of metrics of a run, without times."""
    found = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [{name: row[name] for name in row if name != "examples_per_second"} for row in found]
