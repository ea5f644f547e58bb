"""Inputs of every implementation: sizes, and inputs and weights sampled with NumPy.

Every process samples the same arrays. Weights are a dict with w_x [D, G*H], w_h [H, G*H], b [G*H]
and, for the GRU, b_h [H]; the gates are concatenated in the order i f g o (LSTM), r z n (GRU).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class Unsupported(Exception):
    """A library does not support the cell, the pass or the device that the message names."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One layer on one batch: a cell of `GATES` or `module:Class`, pass, T, B, D and H.

    The pass `forward` computes all outputs ys [T, B, H]; `train` the gradient of the mean square of
    the last hidden state with respect to all parameters; `lyapunov` all exponents [B, n], largest
    first, in nats a step.
    """

    cell: str
    work: str
    T: int
    B: int
    D: int
    H: int

    def inputs(self) -> np.ndarray:
        """Inputs xs [T, B, D], standard normal."""
        # NumPy guarantees the stream of RandomState over versions, but not that of default_rng.
        return np.random.RandomState(0).randn(self.T, self.B, self.D).astype(np.float32)

    def weights(self) -> dict[str, np.ndarray]:
        """Weights of a named cell, scaled so that gates do not saturate."""
        random, wide = np.random.RandomState(1), GATES[self.cell] * self.H
        weights = {
            "w_x": random.randn(self.D, wide) / self.D**0.5,
            "w_h": random.randn(self.H, wide) / self.H**0.5,
            "b": random.randn(wide) / 4,
        }
        if self.cell == "gru":
            weights["b_h"] = random.randn(self.H) / 4
        return {name: value.astype(np.float32) for name, value in weights.items()}


class Prepared(NamedTuple):
    """A compiled pass and its properties.

    Attributes:
      call: runs the pass once and waits for the results.
      values: results by name, for comparison; gradients are by the weights of `Problem`.
      facts: lower_ms, compile_ms, peak_memory_mb and `differs`.
    """

    call: Callable[[], Any]
    values: dict[str, np.ndarray]
    facts: dict[str, float | str | None]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the MNIST job: image rows, a projection, an LSTM, ten classes; trained with Adam."""

    batch: int = 128
    input_size: int = 28
    hidden_size: int = 128
    classes: int = 10
    learning_rate: float = 1e-3


def difference(values: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> float:
    """The largest difference of any array from its reference, relative to the array's maximum."""
    return max(
        float(np.abs(values[name] - want).max() / max(np.abs(want).max(), 1e-30))
        for name, want in reference.items()
    )
