"""Character-level language model: training loss, negative log-likelihood and sampling."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax.datasets.text import START_ID
from rnn_jax.models.sampling import sample_logits
from rnn_jax.models.sequence import SequenceModel
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Integer, Key

EVAL_WINDOW = 1000
"""Characters that `character_bits` processes at a time, which bounds the size of the logits."""


def next_logits(
    model: SequenceModel, ids: Integer[Array, "T ..."], carry: Carry | None = None
) -> tuple[Carry, Float[Array, "T ... C"]]:
    """Return the final carry and, for each of the characters [T, ...], the logits of the next."""
    # Unsigned 8-bit ids end at 255 and cannot represent START_ID.
    xs = jax.nn.one_hot(ids.astype(jnp.int32), model.output.out_features, dtype=jnp.float32)
    return model(xs, carry)


def next_character_loss(
    model: SequenceModel,
    batch: tuple[Int[Array, " B"], Integer[Array, "B T"], Bool[Array, " B"]],
    keys: Key[Array, " B"],
    carry: Carry,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]], Carry]:
    """Mean cross-entropy [nats] of one window of each stream.

    Args:
      model: the language model.
      batch: from `rnn_jax.datasets.text_windows.Windows`: the character before each window, the
        windows, and whether a window is the first in its stream.
      keys: unused.
      carry: the carry at the end of the previous windows.

    Returns:
      The loss, the metrics, and the carry at the end of the windows.
    """
    del keys
    before, targets, begins = batch
    targets = targets.T.astype(jnp.int32)
    xs = jnp.concatenate([before[None].astype(jnp.int32), targets[:-1]])
    carry, logits = next_logits(model, xs, model.reset_carry(carry, begins))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
    return loss, {"bits_per_character": loss / math.log(2)}, carry


def character_bits(
    model: SequenceModel, batch: tuple[Int[Array, "B N"], Integer[Array, "B N"]]
) -> Float[Array, "B N"]:
    """Negative log-likelihood [bits] of each character of whole streams.

    Args:
      model: the language model.
      batch: the inputs [B, N], and the characters [B, N] to predict from them.
    """
    count = batch[0].shape[1]

    def windows(ids):
        padded = jnp.pad(ids, ((0, 0), (0, -count % EVAL_WINDOW)))
        return padded.reshape(len(ids), -1, EVAL_WINDOW).transpose(1, 2, 0)

    def step(carry, window):
        xs, targets = window
        carry, logits = next_logits(model, xs, carry)
        targets = targets.astype(jnp.int32)
        return carry, optax.softmax_cross_entropy_with_integer_labels(logits, targets)

    weights = model.rnn.weights()
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(weights))
    carry = model.rnn.cell.start(weights, (len(batch[0]),), dtype)
    _, nll = jax.lax.scan(step, carry, jax.tree.map(windows, batch))
    return nll.reshape(-1, len(batch[0])).T[:, :count] / math.log(2)


def continue_text(
    model: SequenceModel,
    key: Key[Array, ""],
    prompt: Integer[Array | np.ndarray, " T"],
    length: int,
    temperature: float = 1.0,
) -> Int[Array, " {length}"]:
    """Sample `length` characters that follow a prompt, which may be empty.

    Args:
      model: the language model.
      key: the random key.
      prompt: character ids [T].
      length: the number of characters to sample.
      temperature: at least 0; see `sample_logits`.
    """

    def step(state, key):
        carry, logits = state
        character = sample_logits(key, logits, temperature)
        carry, ys = next_logits(model, character[None], carry)
        return (carry, ys[-1]), character

    prompt = jnp.asarray(prompt, jnp.int32)
    carry, ys = next_logits(model, jnp.pad(prompt, (1, 0), constant_values=START_ID))
    return jax.lax.scan(step, (carry, ys[-1]), jax.random.split(key, length))[1]
