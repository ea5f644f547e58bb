"""Text as numbers, and a model of it that reads and writes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import InputError
from rnn_jax.batches import StreamOrder
from rnn_jax.figures.text import bits_figure, surprise_figure
from rnn_jax.models.language import STRETCH, next_logits, surprise, write_on
from rnn_jax.models.sampling import sample_logits
from rnn_jax.models.settings import build_sequence_model
from rnn_jax.text import (
    NOTHING,
    bigram_bits,
    encode,
    python_source,
    read_text,
    shifted,
    unigram_bits,
    windows,
)

SETTINGS = {"cell": "gru", "hidden_size": 5, "input_size": 4, "output_size": 4, "seed": 0}


@pytest.mark.parametrize(
    "content, sentence",
    [(b"", "is empty"), (b"caf\xe9 cr\xe8me", "is not UTF-8: byte 0xe9 at 3; convert it")],
)
def test_a_file_that_is_no_text_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "some.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_text(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path)


def test_a_mark_of_byte_order_and_returns_are_no_characters(tmp_path):
    path = tmp_path / "some.txt"
    path.write_bytes("\ufeffone\r\ntwo".encode())
    assert read_text(path) == "one\ntwo"


def test_the_default_text_is_long_and_code():
    text = python_source()
    assert len(text) > 500_000
    assert text.count("def ") > 900


def test_a_text_comes_back_from_its_codes():
    text = "naïve 文字 🙂\n"
    vocabulary = "".join(sorted(set(text)))
    ids = encode(text, vocabulary)
    assert "".join(vocabulary[i] for i in ids) == text
    with pytest.raises(InputError, match="'q' is none of the 10 characters"):
        encode("query", vocabulary)


def test_streams_tell_every_character_once_from_the_one_in_front_of_it():
    ids = np.arange(50, dtype=np.int32)
    xs, targets, begins = windows(ids, batch_size=3, length=5)
    assert xs.shape == targets.shape == (9, 5)
    np.testing.assert_array_equal(np.sort(targets.ravel()), np.arange(45))
    first = xs == NOTHING
    np.testing.assert_array_equal(first[:, 0], begins)
    assert first.sum() == begins.sum() == 3
    np.testing.assert_array_equal(xs[~first], targets[~first] - 1)
    steps = StreamOrder(3, 3).indices(0, 3)
    np.testing.assert_array_equal(targets[steps[:, 1]].ravel(), np.arange(15, 30))
    assert begins[steps].tolist() == [[True] * 3, [False] * 3, [False] * 3]


def test_entropies_are_those_of_sources_known_to_the_bit():
    fair = np.random.default_rng(0).integers(8, size=100_000).astype(np.int32)
    assert unigram_bits(fair) == pytest.approx(3, abs=1e-3)
    assert bigram_bits(fair) == pytest.approx(3, abs=1e-3)
    turns = np.tile(np.arange(4, dtype=np.int32), 100)
    assert unigram_bits(turns) == 2
    assert bigram_bits(turns) == pytest.approx(0, abs=1e-9)
    assert unigram_bits(turns * 0) == bigram_bits(turns * 0) == 0


def test_the_bits_of_a_stream_are_those_of_one_long_read():
    model = build_sequence_model(SETTINGS)
    ids = jax.random.randint(jax.random.key(0), (2, STRETCH + 70), 0, 4)
    before = jnp.asarray(shifted(np.asarray(ids)))
    _, logits = next_logits(model, before.T)
    told = jnp.take_along_axis(jax.nn.log_softmax(logits), ids.T[..., None], -1)[..., 0]
    bits = jax.jit(surprise)(model, (before, ids))
    np.testing.assert_allclose(bits, -told.T / np.log(2), rtol=1e-4)


def test_what_is_written_cold_is_the_likeliest_and_is_read_again():
    model, prompt = build_sequence_model(SETTINGS), np.array([2, 0], np.int32)
    written = write_on(model, jax.random.key(0), prompt, 12, temperature=1e-4)
    _, logits = next_logits(model, jnp.array([NOTHING, *prompt, *written]))
    np.testing.assert_array_equal(logits[2:-1].argmax(-1), written)


def test_samples_have_the_frequencies_that_a_temperature_asks_for():
    logits = jnp.log(jnp.array([0.8, 0.2]))
    rows = jnp.broadcast_to(logits, (4000, 2))
    for temperature, share in ((1.0, 0.2), (0.5, 0.04 / 0.68)):
        drawn = sample_logits(jax.random.key(0), rows, temperature)
        assert drawn.mean() == pytest.approx(share, abs=0.02)


def test_figures_take_any_text_and_refuse_what_does_not_fit():
    text = "short $x$\n" + "long " * 100 + "\tΩ文\n\n🙂"
    surprise_figure(text, np.ones(len(text)), "any text")
    with pytest.raises(InputError, match="one length above 0"):
        surprise_figure("four", np.ones(3), "too few")
    with pytest.raises(InputError, match="at least one row"):
        bits_figure([], {}, "none")
