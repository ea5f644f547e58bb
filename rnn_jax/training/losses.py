"""Loss functions and metrics of classifiers."""

import jax.numpy as jnp
import optax

from rnn_jax.models.sequence import SequenceClassifier
from rnn_jax.typing import Array, Float, Int, Key


def logits_of(model: SequenceClassifier, xs: Float[Array, "B T D"]) -> Float[Array, "B C"]:
    """The logits of a batch of sequences, batch first as in a data set."""
    return model(jnp.moveaxis(xs, 0, 1))


def classification_loss(
    model: SequenceClassifier,
    batch: tuple[Float[Array, "B T D"], Int[Array, " B"]],
    keys: Key[Array, " B"],
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Mean cross-entropy [nats] and accuracy (0 to 1) of sequences with labels."""
    del keys
    xs, labels = batch
    loss, accuracy = evaluate(logits_of(model, xs), labels)
    return loss, {"batch_accuracy": accuracy}


def evaluate(
    logits: Float[Array, "N C"], labels: Int[Array, " N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy [nats] and accuracy (0 to 1) of logits."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), (logits.argmax(-1) == labels).mean()
