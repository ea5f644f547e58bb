"""The encoder-decoder and its attention, compared with NumPy and with each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import CELLS, InputError
from rnn_jax.models.attention import dot_attention
from rnn_jax.models.encoder_decoder import EncoderDecoder, build_encoder_decoder

S, T, B, H, SYMBOLS, C = 7, 4, 5, 6, 9, 3
LENGTHS = np.array([7, 1, 3, 6, 0], np.int32)


def sample_batch(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, SYMBOLS, (S, B)), rng.integers(0, C, (T, B))


@pytest.fixture(scope="module", params=[("lstm", False), ("gru", True)], ids=["plain", "attention"])
def model(request):
    cell, attention = request.param
    return EncoderDecoder(CELLS[cell](H), SYMBOLS, C, attention=attention, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def logits(model):
    return jax.jit(lambda *args: model(*map(jnp.asarray, args)))


def test_attention_equals_a_weighted_mean_in_numpy(float64):
    rng = np.random.default_rng(1)
    queries, keys = rng.normal(size=(T, B, H)), rng.normal(size=(S, B, H))
    contexts, weights = dot_attention(jnp.asarray(queries), jnp.asarray(keys), jnp.asarray(LENGTHS))
    for b, length in enumerate(LENGTHS[:-1]):
        scores = np.exp(queries[:, b] @ keys[:length, b].T)
        want = scores / scores.sum(1, keepdims=True)
        np.testing.assert_allclose(weights[:, :length, b], want, rtol=1e-12)
        np.testing.assert_allclose(contexts[:, b], want @ keys[:length, b], rtol=1e-12)
    assert not np.any(weights[:, :, -1]) and not np.any(contexts[:, -1])


def test_attention_without_lengths_uses_all_keys():
    rng = np.random.default_rng(2)
    queries, keys = (jnp.asarray(rng.normal(size=(n, B, H)), jnp.float32) for n in (T, S))
    whole = dot_attention(queries, keys, jnp.full(B, S))
    for got, want in zip(dot_attention(queries, keys), whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_nan_in_padding_does_not_reach_contexts_or_gradients():
    keys = jnp.ones((S, B, H)).at[LENGTHS[1] :, 1].set(jnp.nan)

    def total(keys):
        return dot_attention(jnp.ones((T, B, H)), keys, jnp.asarray(LENGTHS))[0].sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(keys)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_padding_does_not_change_the_logits(logits):
    sources, targets = sample_batch()
    other = np.where(np.arange(S)[:, None] < LENGTHS, sources, (sources + 1) % SYMBOLS)
    longer = np.concatenate([other, other[:2]])
    want, got = (logits(part, LENGTHS, targets) for part in (sources, longer))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_logits_depend_on_earlier_targets_only(logits):
    sources, targets = sample_batch()
    changed = np.concatenate([targets[:2], (targets[2:] + 1) % C])
    want, got = (logits(sources, LENGTHS, part) for part in (targets, changed))
    np.testing.assert_array_equal(got[:3], want[:3])
    assert np.any(got[3] != want[3])


def test_greedy_translation_agrees_with_teacher_forcing_on_it(model, logits):
    sources, _ = sample_batch()
    made = jax.jit(lambda *args: model.translate(*map(jnp.asarray, args), T))(sources, LENGTHS)
    probabilities = jax.nn.softmax(logits(sources, LENGTHS, made.symbols), -1)
    np.testing.assert_array_equal(made.symbols, probabilities.argmax(-1))
    np.testing.assert_allclose(made.probabilities, probabilities.max(-1), rtol=1e-5)
    assert (made.weights is None) == (model.combine is None)
    if made.weights is not None:
        read = np.broadcast_to(LENGTHS > 0, (T, B))
        np.testing.assert_allclose(made.weights.sum(1), read, rtol=1e-5)


def test_an_unknown_cell_error_lists_the_known_cells():
    settings = {"cell": "lstn", "hidden_size": 4, "source_size": 3, "target_size": 2}
    with pytest.raises(InputError, match=r"cell must be one of lstm, .*; got 'lstn'"):
        build_encoder_decoder(settings | {"attention": False, "seed": 0})


def test_missing_settings_are_named():
    with pytest.raises(InputError, match="the settings of a run must name source_size"):
        build_encoder_decoder({"cell": "lstm", "hidden_size": 4, "seed": 0})
