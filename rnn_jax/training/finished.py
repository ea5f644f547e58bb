"""Finished runs that are resumed: their summary, if it is still valid."""

from typing import Any

from rnn_jax.training.commands.config import FREE
from rnn_jax.training.run import Run
from rnn_jax.training.runs import metrics, records
from rnn_jax.training.runs.saved_runs import held


def finished_summary(run: Run, steps: int) -> dict[str, Any] | None:
    """The summary of a resumed run that is finished with the current settings; otherwise None.

    Args:
      run: the run, after `Run.describe`.
      steps: number of steps of the finished run.

    Raises:
      InputError: the run was made with other settings, or its rows are damaged.
    """
    if not run.config.resume:
        return None
    facts = records.sealed_facts(run.out.path)
    saved = records.saved_settings(run.out, facts)
    if saved is not None:
        records.check_same(run.out, run.settings, saved)
    summary = records.read_summary(run.out, facts)
    if summary is None or summary.get("steps", steps) != steps:
        return None
    now = held(run.settings)
    if any(summary[name] != now.get(name) for name in FREE if name in summary):
        return None
    if facts is not None:
        metrics.read_metrics(run.out, steps, facts)
    return summary
