"""The best row of a run by one of its metrics."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from rnn_jax.errors import InputError
from rnn_jax.training.state import TrainState, example_keys
from rnn_jax.typing import Data


def value_of(row: Mapping | None, metric: str) -> float:
    """A row's value of a metric, where lower is better; infinity if it is missing or not finite.

    Accuracies, metrics whose name contains "accuracy", are negated.
    """
    value = (row or {}).get(metric)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return math.inf
    return -value if "accuracy" in metric else value


def best_steps(rows: Mapping[int, Mapping | None], metric: str) -> list[int]:
    """The steps whose rows have a finite value of the metric, best first; ties by step."""
    values = {step: value_of(row, metric) for step, row in rows.items()}
    return sorted((s for s in values if values[s] < math.inf), key=lambda s: (values[s], s))


def check_metric(metric: str, gradient: Callable, state: TrainState, batch: Data) -> None:
    """Raise InputError unless `metric` is a metric of the rows of this training.

    Args:
      metric: its name.
      gradient: see `TrainStep`.
      state: the state before training.
      batch: arrays [B, ...].
    """

    def metrics_of(state, batch):
        keys = example_keys(state, jnp.arange(len(jax.tree.leaves(batch)[0])))
        (_, (metrics, _)), _ = gradient(state.params, batch, keys, state.carry)
        return metrics

    known = ["loss", *jax.eval_shape(metrics_of, state, batch), "grad_norm"]
    if metric not in known:
        raise InputError(f"`keep_best` must be one of {', '.join(known)}, got {metric!r}.")
