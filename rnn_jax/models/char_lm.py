"""A sequence model as a model of language: it tells the next character, and so it can write."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rnn_jax.datasets.text import NOTHING
from rnn_jax.models.sampling import sample_logits
from rnn_jax.models.sequence import SequenceModel
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Integer, Key

STRETCH = 1000
"""Characters that `surprise` reads at a time, for memory's sake; the carry goes on."""


def next_logits(
    model: SequenceModel, ids: Integer[Array, "T ..."], carry: Carry | None = None
) -> tuple[Carry, Float[Array, "T ... C"]]:
    """The carry after reading characters [T, ...], and what is told to follow each of them."""
    # Unsigned ids of 8 bits count no further than 255, and have no NOTHING.
    xs = jax.nn.one_hot(ids.astype(jnp.int32), model.output.out_features, dtype=jnp.float32)
    return model(xs, carry)


def next_character_loss(
    model: SequenceModel,
    batch: tuple[Int[Array, " B"], Integer[Array, "B T"], Bool[Array, " B"]],
    keys: Key[Array, " B"],
    memory: Carry,
) -> tuple[Float[Array, ""], tuple[dict[str, Float[Array, ""]], Carry]]:
    """Mean cross-entropy [nats] of a window of each stream, read on from where the last one ended.

    `batch` is what `rnn_jax.datasets.text.windows` cuts: the characters in front of the windows,
    the windows themselves, and which streams begin.
    """
    del keys
    before, targets, begins = batch
    targets = targets.T.astype(jnp.int32)
    xs = jnp.concatenate([before[None].astype(jnp.int32), targets[:-1]])
    carry, logits = next_logits(model, xs, model.begun(memory, begins))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
    return loss, ({"bits_per_character": loss / math.log(2)}, carry)


def surprise(
    model: SequenceModel, batch: tuple[Int[Array, "B N"], Integer[Array, "B N"]]
) -> Float[Array, "B N"]:
    """Bits that each character of whole streams takes, from what is read and what follows it."""
    count = batch[0].shape[1]

    def cut(ids):
        padded = jnp.pad(ids, ((0, 0), (0, -count % STRETCH)))
        return padded.reshape(len(ids), -1, STRETCH).transpose(1, 2, 0)

    def read(carry, stretch):
        xs, targets = stretch
        carry, logits = next_logits(model, xs, carry)
        targets = targets.astype(jnp.int32)
        return carry, optax.softmax_cross_entropy_with_integer_labels(logits, targets)

    weights = model.rnn.weights()
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(weights))
    carry = model.rnn.cell.start(weights, (len(batch[0]),), dtype)
    _, nats = jax.lax.scan(read, carry, jax.tree.map(cut, batch))
    return nats.reshape(-1, len(batch[0])).T[:, :count] / math.log(2)


def write_on(
    model: SequenceModel,
    key: Key[Array, ""],
    prompt: Integer[Array | np.ndarray, " T"],
    length: int,
    temperature: float = 1.0,
) -> Int[Array, " {length}"]:
    """`length` characters that follow a prompt, which may be empty, each drawn and then read."""

    def draw(state, key):
        carry, logits = state
        drawn = sample_logits(key, logits, temperature)
        carry, ys = next_logits(model, drawn[None], carry)
        return (carry, ys[-1]), drawn

    prompt = jnp.asarray(prompt, jnp.int32)
    carry, ys = next_logits(model, jnp.pad(prompt, (1, 0), constant_values=NOTHING))
    return jax.lax.scan(draw, (carry, ys[-1]), jax.random.split(key, length))[1]
