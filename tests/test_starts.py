"""Models start a sequence from `cell.start`, not from zeros."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import ConvLSTMCell, GRUCell, HiddenCarry, LSTMCell, SequenceModel, learned_carry
from rnn_jax.datasets.text import START_ID
from rnn_jax.models.char_lm import character_bits, next_character_loss, next_logits

B, T, C = 2, 6, 4
IDS = jax.random.randint(jax.random.key(0), (B, T), 0, C)
BEFORE = jnp.pad(IDS[:, :-1], ((0, 0), (1, 0)), constant_values=START_ID)


@dataclasses.dataclass(frozen=True)
class FromBias(GRUCell):
    """A GRU that starts from its own bias."""

    def start(self, params, batch_shape=(), dtype=jnp.float32):
        h = 1 + params.b[: self.hidden_size].astype(dtype)
        return HiddenCarry(jnp.broadcast_to(h, (*batch_shape, self.hidden_size)))


def model_of(cell):
    model = SequenceModel(cell, C, C, rngs=nnx.Rngs(0))
    if hasattr(model.rnn.params, "carry"):
        model.rnn.params.carry.h[...] = jnp.linspace(-1, 1, cell.hidden_size, dtype=jnp.float32)
    return model


every_start = pytest.mark.parametrize(
    "cell", [LSTMCell(3), learned_carry(LSTMCell(3)), FromBias(3)], ids=["zeros", "learned", "own"]
)


@every_start
def test_character_bits_are_the_nll_of_the_predictions(cell):
    model = model_of(cell)
    _, logits = next_logits(model, BEFORE.T)
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), IDS.T[..., None], -1)[..., 0]
    bits = character_bits(model, (BEFORE, IDS))
    np.testing.assert_allclose(bits, -picked.T / np.log(2), rtol=1e-5)


@every_start
def test_the_first_window_of_training_ignores_the_carry_given(cell):
    model, carry = model_of(cell), jax.tree.map(lambda c: c + 7, cell.initial_carry((B,)))
    batch = BEFORE[:, 0], IDS, jnp.ones(B, bool)
    loss, _, _ = next_character_loss(model, batch, jax.random.split(jax.random.key(0), B), carry)
    bits = character_bits(model, (BEFORE, IDS))
    np.testing.assert_allclose(loss, bits.mean() * np.log(2), rtol=1e-5)


def test_character_bits_work_with_64_bit_types(float64):
    model = model_of(learned_carry(LSTMCell(3)))
    bits = jax.jit(character_bits)(model, (BEFORE, IDS))
    assert bits.dtype == jnp.float32 and np.isfinite(bits).all()


def test_reset_carry_works_for_images():
    model = SequenceModel(learned_carry(ConvLSTMCell(3)), 1, 1, rngs=nnx.Rngs(0))
    model.rnn.params.carry.h[...] = jnp.ones(3)
    carry = model.rnn.cell.initial_carry((B, 4, 5))
    reset = model.reset_carry(carry, jnp.array([True, False]))
    np.testing.assert_array_equal(reset.h, np.stack([np.ones((4, 5, 3)), np.zeros((4, 5, 3))]))
