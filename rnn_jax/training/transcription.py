"""Losses and error rates of networks that score labels at every step."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax.models.ctc import BLANK, greedy_decode, label_error_rate, prefix_beam_decode
from rnn_jax.models.sequence import mean_outputs
from rnn_jax.models.speech import CTCModel
from rnn_jax.typing import Array, Data, Float, Int, Key


def scores(
    model: CTCModel,
    batch: tuple[Float[Array, "B T D"], Int[Array, " B"]],
    key: Key[Array, ""] | None = None,
) -> Float[Array, "B S C"]:
    """Scores of blank and labels for a batch of features, in any precision, and their lengths."""
    xs, lengths = batch
    _, logits = model(xs.swapaxes(0, 1).astype(jnp.float32), lengths=lengths, key=key)
    return logits.swapaxes(0, 1)


def at_length(
    function: Callable[[Float[Array, "B S D"]], Data],
    xs: Float[Array, "B T D"],
    lengths: Int[Array, " B"],
    sizes: Sequence[int],
) -> Data:
    """Apply a function to a batch without the steps that are padding in all its sequences.

    The function is compiled for each size; the smallest sufficient size is run. Use with
    `BucketOrder`, whose batches have sequences of similar lengths.

    Args:
      function: a function of xs[:, :S] whose results have the same shapes for every S.
      xs: padded sequences.
      lengths: the number of valid steps of each sequence.
      sizes: increasing sizes S; the last one is T.
    """
    place = jnp.searchsorted(jnp.asarray(sizes), lengths.max())
    branches = [lambda xs, size=size: function(xs[:, :size]) for size in sizes]
    return jax.lax.switch(place, branches, xs)


def ctc_loss(
    logits: Float[Array, "B S C"],
    steps: Int[Array, " B"],
    labels: Int[Array, "B L"],
    counts: Int[Array, " B"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean CTC loss [nats per label], and the label error rate of greedy decoding.

    Args:
      logits: scores of the blank, class 0, and the labels.
      steps: the number of valid steps of each sequence.
      labels: padded label strings.
      counts: the number of labels of each string.
    """
    padding = 1.0 - _valid(steps, logits.shape[1])
    label_padding = 1.0 - _valid(counts, labels.shape[1])
    losses = optax.ctc_loss(logits, padding, labels, label_padding)
    total = jnp.maximum(counts.sum(), 1)
    return losses.sum() / total, greedy_errors(logits, steps, labels, counts).sum() / total


def greedy_errors(
    logits: Float[Array, "B S C"],
    steps: Int[Array, " B"],
    labels: Int[Array, "B L"],
    counts: Int[Array, " B"],
) -> Int[Array, " B"]:
    """Compiled `edit_distance` from the labels of `greedy_decode` to those of each sequence.

    The arguments are those of `ctc_loss`.
    """
    path = logits.argmax(-1)
    before = jnp.pad(path, ((0, 0), (1, 0)), constant_values=BLANK)[:, :-1]
    starts = (path != BLANK) & (path != before) & _valid(steps, path.shape[1])
    places = jnp.broadcast_to(jnp.arange(labels.shape[1] + 1), (len(labels), labels.shape[1] + 1))

    def step(distances, inputs):
        symbol, start = (each[:, None] for each in inputs)
        changed = distances[:, :-1] + (labels != symbol)
        found = (distances + 1).at[:, 1:].min(changed)
        # Each inserted label adds 1 to the distance at an earlier position.
        found = jax.lax.cummin(found - places, axis=1) + places
        return jnp.where(start, found, distances), None

    distances, _ = jax.lax.scan(step, places, (path.T, starts.T))
    return jnp.take_along_axis(distances, counts[:, None], axis=1)[:, 0]


def single_label_loss(
    logits: Float[Array, "B S C"],
    steps: Int[Array, " B"],
    labels: Int[Array, "B 1"],
    counts: Int[Array, " B"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Cross-entropy [nats] and error rate of one label for each sequence; see `mean_scores`.

    The arguments are those of `ctc_loss`.
    """
    del counts
    pooled, (labels,) = mean_scores(logits, steps), labels.T
    losses = optax.softmax_cross_entropy_with_integer_labels(pooled, labels)
    return losses.mean(), (pooled.argmax(-1) != labels).mean()


def mean_scores(logits: Float[Array, "B S C"], steps: Int[Array, " B"]) -> Float[Array, "B C"]:
    """The mean scores over the valid steps of each sequence."""
    valid = _valid(steps, logits.shape[1])[..., None]
    return mean_outputs(jnp.where(valid, logits, 0).swapaxes(0, 1), lengths=steps)


def _valid(counts, size):
    return jnp.arange(size) < counts[:, None]


def recognize(
    logits: Float[np.ndarray, "N S C"],
    steps: Int[np.ndarray, " N"],
    truths: Sequence[Sequence[int]],
    groups: Sequence[str],
    beam: int,
) -> tuple[list[tuple[int, ...]], dict[str, Any]]:
    """Recognize the labels of a test set, and compare them with the true ones.

    Args:
      logits: scores of the blank and the labels.
      steps: the number of valid steps of each sequence.
      truths, groups: see `error_rates`.
      beam: the number of prefixes that prefix beam search keeps, or 0 for sequences of one label,
        whose mean scores are compared.

    Returns:
      The recognized labels, and the results of `error_rates`; with a beam, also greedy_error_rate,
      the digit error rate of `greedy_decode`.
    """
    if not beam:
        pooled = mean_scores(jnp.asarray(logits), jnp.asarray(steps))
        made = [(int(label),) for label in pooled.argmax(-1)]
        return made, error_rates(made, truths, groups)
    pairs = zip(logits, steps, strict=True)
    made = [prefix_beam_decode(each[:count], beam)[0][0] for each, count in pairs]
    greedy = label_error_rate(greedy_decode(logits, steps), truths)
    return made, error_rates(made, truths, groups) | {"greedy_error_rate": greedy}


def error_rates(
    made: Sequence[Sequence[int]], truths: Sequence[Sequence[int]], groups: Sequence[str]
) -> dict[str, Any]:
    """Digit error rate, fraction of strings without errors, and the error rate of each group.

    Args:
      made, truths: recognized and true labels.
      groups: a name for each string, such as its speaker.
    """
    names, right = dict.fromkeys(groups), [*map(operator.eq, made, truths)]
    by_group = {name: [n for n, own in enumerate(groups) if own == name] for name in names}
    return {
        "digit_error_rate": label_error_rate(made, truths),
        "strings_right": sum(right) / len(right),
        "speaker_error_rates": {
            name: label_error_rate([made[n] for n in own], [truths[n] for n in own])
            for name, own in by_group.items()
        },
    }
