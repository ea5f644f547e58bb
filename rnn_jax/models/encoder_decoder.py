"""Sequence to sequence: one recurrent layer reads all of the source, another writes the target."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers.unroll import Driver
from rnn_jax.errors import check_size
from rnn_jax.layers.checks import check_rngs
from rnn_jax.layers.rnn import RNN
from rnn_jax.models.attention import dot_attention
from rnn_jax.models.factory import from_settings
from rnn_jax.typing import Array, Carry, Float, Int

NOTHING = -1
"""What the decoder is told was written before the first symbol; its one-hot vector is zero."""


class Source(NamedTuple):
    """A source that has been read.

    Attributes:
      carry: the encoder's final carry, fields [..., H].
      ys: its outputs [S, ..., H].
      lengths: how many of them belong to the source.
    """

    carry: Carry
    ys: Float[Array, "S ... H"]
    lengths: Int[Array, "..."]


class Translation(NamedTuple):
    """What the decoder wrote.

    Attributes:
      symbols: at each step the one it gave the highest probability.
      chances: that probability, given the symbols before.
      weights: what attention paid to each step of the source, or None for a model without.
    """

    symbols: Int[Array, "T ..."]
    chances: Float[Array, "T ..."]
    weights: Float[Array, "T S ..."] | None


class EncoderDecoder(nnx.Module):
    """An encoder whose final carry is the first of a decoder, with attention or without.

    Both see symbols as one-hot vectors, so their input weights are the embeddings. Attention is
    computed from the decoder's outputs, and goes into the output layer, not into the recurrence.

    Args:
      cell: any `Cell`, for both.
      source_size: how many symbols there are in sources.
      target_size: C, how many symbols there are in targets.
      attention: let each output see the encoder's outputs, not the decoder's alone.
      driver: as in `RNN`.
      rngs: where the parameters' keys come from.

    References: Sutskever, Vinyals, Le (2014), "Sequence to sequence learning with neural networks";
    for attention see `dot_attention`.
    """

    def __init__(
        self,
        cell: Cell,
        source_size: int,
        target_size: int,
        *,
        attention: bool = False,
        driver: Driver = "auto",
        rngs: nnx.Rngs,
    ):
        require_cell(type(self).__name__, cell)
        check_rngs(rngs)
        check_size("source_size", source_size)
        check_size("target_size", target_size)
        size = cell.output_size
        self.source_size, self.target_size = source_size, target_size
        self.encoder = RNN(cell, source_size, driver=driver, rngs=rngs)
        self.decoder = RNN(cell, target_size, driver=driver, rngs=rngs)
        self.combine = nnx.Linear(2 * size, size, rngs=rngs) if attention else None
        self.output = nnx.Linear(size, target_size, rngs=rngs)

    def __call__(
        self,
        sources: Int[Array, "S ..."],
        lengths: Int[Array, "..."],
        targets: Int[Array, "T ..."],
    ) -> Float[Array, "T ... C"]:
        """The logits of each symbol of the targets, given all symbols before it (teacher forcing).

        `lengths` says how many symbols of each source count; the others may be anything.
        """
        targets = targets.astype(jnp.int32)
        before = jnp.concatenate([jnp.full_like(targets[:1], NOTHING), targets[:-1]])
        source = self._read(sources, lengths)
        _, logits, _ = self._write(source.carry, before, source)
        return logits

    def translate(
        self, sources: Int[Array, "S ..."], lengths: Int[Array, "..."], steps: int
    ) -> Translation:
        """Write `steps` symbols, each the likeliest after those written before (greedy)."""
        source = self._read(sources, lengths)

        def step(state, _):
            carry, before = state
            carry, logits, weights = self._write(carry, before[None], source)
            symbols = logits[0].argmax(-1)
            chances = jax.nn.softmax(logits[0]).max(-1)
            written = Translation(symbols, chances, None if weights is None else weights[0])
            return (carry, symbols), written

        start = source.carry, jnp.full(sources.shape[1:], NOTHING)
        return jax.lax.scan(step, start, length=steps)[1]

    def _read(self, sources, lengths):
        xs = jax.nn.one_hot(sources, self.source_size, dtype=jnp.float32)
        return Source(*self.encoder(xs, lengths=lengths), lengths)

    def _write(self, carry, before, source):
        """The carry, logits and attention weights after the symbols `before` [T, ...]."""
        xs = jax.nn.one_hot(before, self.target_size, dtype=jnp.float32)
        carry, ys = self.decoder(xs, carry)
        weights = None
        if self.combine is not None:
            contexts, weights = dot_attention(ys, source.ys, source.lengths)
            ys = jnp.tanh(self.combine(jnp.concatenate([ys, contexts], -1)))
        return carry, self.output(ys), weights


def build_encoder_decoder(settings: Mapping) -> EncoderDecoder:
    """The model that settings describe.

    Args:
      settings: cell, hidden_size, source_size, target_size, attention and seed.

    Raises:
      InputError: a setting that is missing, or a cell that is not known.
    """

    def make(cell, options):
        sizes = settings["source_size"], settings["target_size"]
        attention = settings["attention"]
        return EncoderDecoder(cell, *sizes, attention=attention, rngs=options["rngs"])

    return from_settings(settings, make)
