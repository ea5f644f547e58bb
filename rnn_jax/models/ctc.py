"""Decoding of a network trained with CTC: from frame scores to labels."""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import SupportsInt

import jax
import numpy as np

from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Float, Int

BLANK = 0
"""Class of the blank, as in `optax.ctc_loss`; the classes from 1 are labels."""


def collapse(path: Iterable[SupportsInt], before: int = BLANK) -> tuple[int, ...]:
    """Labels of a path, which has one class per frame: merge repeats, then remove blanks.

        collapse([0, 1, 1, 0, 1, 2]) = (1, 1, 2)

    Args:
      path: a class for each frame.
      before: the class of the frame before the path, if the path continues another one.
    """
    labels = []
    for symbol in map(int, path):
        if symbol not in (before, BLANK):
            labels.append(symbol)
        before = symbol
    return tuple(labels)


def greedy_decode(
    logits: Float[np.ndarray | jax.Array, "B T C"],
    lengths: Int[np.ndarray | jax.Array, " B"] | None = None,
) -> list[tuple[int, ...]]:
    """Labels of the most probable path of each sequence.

    The most probable path need not have the most probable labels; see `prefix_beam_decode`.

    Args:
      logits: scores of the blank and the labels, or their log-probabilities, [B, T, C].
      lengths: the number of frames of each sequence; by default T.

    Raises:
      InputError: logits that are NaN.
    """
    paths = _checked(logits).argmax(-1)
    if lengths is None:
        return [collapse(path) for path in paths]
    return [collapse(path[:length]) for path, length in zip(paths, lengths, strict=True)]


def prefix_beam_decode(
    logits: Float[np.ndarray | jax.Array, "T C"], width: int = 16
) -> list[tuple[tuple[int, ...], float]]:
    """Search for the most probable label strings of a sequence, each summed over its paths.

    The paths of each prefix are summed frame by frame, separately for paths that end in a blank and
    in the last label. After every frame, the `width` most probable prefixes are kept. A label
    string that is dropped and found again has lost paths, so probabilities are lower bounds; they
    are exact if `width` is at least the number of prefixes.

    Args:
      logits: scores of the blank and the labels, or their log-probabilities, [T, C].
      width: the number of prefixes to keep.

    Returns:
      Up to `width` pairs of labels and their log-probability, the most probable first.

    Raises:
      InputError: logits that are NaN, or a width below 1.
    Reference: Graves, Jaitly (2014), "Towards end-to-end speech recognition with recurrent neural
      networks"; Hannun et al. (2014), "First-pass large vocabulary continuous speech recognition
      using bi-directional recurrent DNNs".
    """
    check_size("width", width)
    scores = _checked(logits).astype(np.float64)
    weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
    frames = (weights / weights.sum(-1, keepdims=True)).tolist()
    # For each prefix: the probabilities of its paths that end in a blank and in its last label.
    beam, log_scale = {(): (1.0, 0.0)}, 0.0
    for blank, *labels in frames:
        grown = defaultdict(lambda: [0.0, 0.0])
        for prefix, (after_blank, after_label) in beam.items():
            total = after_blank + after_label
            grown[prefix][0] += total * blank
            for label, probability in enumerate(labels, 1):
                paths = total
                if prefix and label == prefix[-1]:
                    grown[prefix][1] += after_label * probability
                    paths = after_blank
                if paths:
                    grown[*prefix, label][1] += paths * probability
        kept = heapq.nlargest(width, grown.items(), key=_probability)
        scale = sum(map(_probability, kept))
        log_scale += math.log(scale)
        beam = {prefix: (blank / scale, label / scale) for prefix, (blank, label) in kept}
    found = ((prefix, sum(ends)) for prefix, ends in beam.items())
    return [(prefix, log_scale + math.log(total)) for prefix, total in found if total]


def edit_distance(made: Sequence, truth: Sequence) -> int:
    """The minimum number of insertions, deletions and substitutions from one string to another.

    Reference: Levenshtein (1966), "Binary codes capable of correcting deletions, insertions, and
      reversals".
    """
    distances = list(range(len(truth) + 1))
    for n, symbol in enumerate(made, 1):
        corner, distances[0] = distances[0], n
        for k, other in enumerate(truth, 1):
            change = corner + (symbol != other)
            corner = distances[k]
            distances[k] = min(change, corner + 1, distances[k - 1] + 1)
    return distances[-1]


def label_error_rate(made: Sequence[Sequence[int]], truths: Sequence[Sequence[int]]) -> float:
    """The sum of all edit distances divided by the number of true labels."""
    wrong = sum(edit_distance(*pair) for pair in zip(made, truths, strict=True))
    return wrong / max(1, sum(map(len, truths)))


def _probability(item):
    return sum(item[1])


def _checked(logits):
    logits = np.asarray(logits)
    if np.isnan(logits).any():
        raise InputError("logits must be numbers, got NaN; look for it in the training rows.")
    return logits
