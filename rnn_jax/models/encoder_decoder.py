"""Sequence to sequence: an encoder reads the source, and a decoder generates the target."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers.unroll import DriverLike
from rnn_jax.errors import check_size
from rnn_jax.layers.checks import check_rngs
from rnn_jax.layers.rnn import RNN
from rnn_jax.models.attention import dot_attention
from rnn_jax.models.factory import from_settings
from rnn_jax.typing import Array, Carry, Float, Int

START = -1
"""The decoder's input before the first symbol; its one-hot vector is zero."""


class Encoded(NamedTuple):
    """The encoder's results for a source.

    Attributes:
      carry: the final carry, fields [..., H].
      ys: the outputs [S, ..., H].
      lengths: the number of symbols [...] of each source.
    """

    carry: Carry
    ys: Float[Array, "S ... H"]
    lengths: Int[Array, "..."]


class Translation(NamedTuple):
    """A greedy translation.

    Attributes:
      symbols: the most probable symbol at each step [T, ...].
      probabilities: its probability given the symbols before it [T, ...].
      weights: the attention weights [T, S, ...], or None for a model without attention.
    """

    symbols: Int[Array, "T ..."]
    probabilities: Float[Array, "T ..."]
    weights: Float[Array, "T S ..."] | None


class EncoderDecoder(nnx.Module):
    """An encoder whose final carry is the initial carry of a decoder, with optional attention.

    Symbols are one-hot vectors, so the input weights act as embeddings. Attention is computed from
    the decoder's outputs and feeds the output layer, not the recurrence.

    Args:
      cell: any `Cell`, used for both encoder and decoder.
      source_size: the number of source symbols.
      target_size: C, the number of target symbols.
      attention: let each output attend to all outputs of the encoder.
      driver: as in `RNN`.
      rngs: the source of the parameters' keys, e.g. `nnx.Rngs(0)`.

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
        driver: DriverLike = "auto",
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
        """Logits of each target symbol, given all target symbols before it (teacher forcing).

        Args:
          sources: symbols [S, ...]; those past the end of a source are ignored.
          lengths: the number of symbols [...] of each source.
          targets: symbols [T, ...].
        """
        targets = targets.astype(jnp.int32)
        before = jnp.concatenate([jnp.full_like(targets[:1], START), targets[:-1]])
        encoded = self._encode(sources, lengths)
        _, logits, _ = self._decode(encoded.carry, before, encoded)
        return logits

    def translate(
        self, sources: Int[Array, "S ..."], lengths: Int[Array, "..."], steps: int
    ) -> Translation:
        """Generate `steps` symbols, at each step the most probable one (greedy decoding)."""
        encoded = self._encode(sources, lengths)

        def step(state, _):
            carry, before = state
            carry, logits, weights = self._decode(carry, before[None], encoded)
            symbols = logits[0].argmax(-1)
            probabilities = jax.nn.softmax(logits[0]).max(-1)
            weights = None if weights is None else weights[0]
            return (carry, symbols), Translation(symbols, probabilities, weights)

        start = encoded.carry, jnp.full(sources.shape[1:], START)
        return jax.lax.scan(step, start, length=steps)[1]

    def _encode(self, sources, lengths):
        xs = jax.nn.one_hot(sources, self.source_size, dtype=jnp.float32)
        return Encoded(*self.encoder(xs, lengths=lengths), lengths)

    def _decode(self, carry, before, encoded):
        """The carry, logits and attention weights after the symbols `before` [T, ...]."""
        xs = jax.nn.one_hot(before, self.target_size, dtype=jnp.float32)
        carry, ys = self.decoder(xs, carry)
        weights = None
        if self.combine is not None:
            contexts, weights = dot_attention(ys, encoded.ys, encoded.lengths)
            ys = jnp.tanh(self.combine(jnp.concatenate([ys, contexts], -1)))
        return carry, self.output(ys), weights


def build_encoder_decoder(settings: Mapping) -> EncoderDecoder:
    """Initialize an `EncoderDecoder` from the settings of a run.

    Args:
      settings: cell, hidden_size, source_size, target_size, attention and seed.

    Raises:
      InputError: a missing setting or an unknown cell.
    """

    def make(cell, options):
        sizes = settings["source_size"], settings["target_size"]
        attention = settings["attention"]
        return EncoderDecoder(cell, *sizes, attention=attention, rngs=options["rngs"])

    return from_settings(settings, make)
