"""The character language model, sampling from it, and its figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import InputError
from rnn_jax.datasets.text import START_ID, shift_right
from rnn_jax.models.char_lm import (
    EVAL_WINDOW,
    character_bits,
    continue_text,
    next_character_loss,
    next_logits,
)
from rnn_jax.models.factory import build_sequence_model
from rnn_jax.models.sampling import sample_logits
from rnn_jax.plotting.style import save
from rnn_jax.plotting.text import bits_figure, character_bits_figure

SETTINGS = {"cell": "gru", "hidden_size": 5, "input_size": 4, "output_size": 4, "seed": 0}


def test_id_255_is_not_confused_with_the_start_id():
    model = build_sequence_model(SETTINGS | {"input_size": 256, "output_size": 256})
    ids = np.array([[255, 0, 255, 7]])
    _, logits = next_logits(model, jnp.asarray(shift_right(ids)).T)
    narrow = shift_right(ids.astype(np.uint8))
    np.testing.assert_array_equal(narrow, [[START_ID, 255, 0, 255]])
    np.testing.assert_array_equal(next_logits(model, jnp.asarray(narrow).T)[1], logits)
    wide, small = (
        (jnp.asarray(shift_right(i)), jnp.asarray(i)) for i in (ids, ids.astype(np.uint8))
    )
    np.testing.assert_array_equal(character_bits(model, small), character_bits(model, wide))
    before, begins = jnp.array([START_ID], jnp.int32), jnp.array([True])
    keys, carry = jax.random.split(jax.random.key(0), 1), model.rnn.cell.initial_carry((1,))
    losses = [
        next_character_loss(model, (before, targets, begins), keys, carry)
        for targets in map(jnp.asarray, (ids, ids.astype(np.uint8)))
    ]
    assert losses[0][0] == losses[1][0] > 0


def test_bits_of_windows_equal_those_of_one_long_sequence():
    model = build_sequence_model(SETTINGS)
    ids = jax.random.randint(jax.random.key(0), (2, EVAL_WINDOW + 70), 0, 4)
    before = jnp.asarray(shift_right(np.asarray(ids)))
    _, logits = next_logits(model, before.T)
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), ids.T[..., None], -1)[..., 0]
    bits = jax.jit(character_bits)(model, (before, ids))
    np.testing.assert_allclose(bits, -picked.T / np.log(2), rtol=1e-4)


def test_low_temperature_continues_with_the_most_probable_characters():
    model, prompt = build_sequence_model(SETTINGS), np.array([2, 0], np.int32)
    written = continue_text(model, jax.random.key(0), prompt, 12, temperature=1e-4)
    _, logits = next_logits(model, jnp.array([START_ID, *prompt, *written]))
    np.testing.assert_array_equal(logits[2:-1].argmax(-1), written)


def test_sample_frequencies_match_the_temperature():
    logits = jnp.log(jnp.array([0.8, 0.2]))
    rows = jnp.broadcast_to(logits, (4000, 2))
    for temperature, share in ((1.0, 0.2), (0.5, 0.04 / 0.68)):
        sampled = sample_logits(jax.random.key(0), rows, temperature)
        assert sampled.mean() == pytest.approx(share, abs=0.02)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "text",
    [
        "short $x$\n" + "long " * 100 + "\tΩ文\n\n🙂",
        *(
            "a",
            "\n",
            "\n\n",
            "a\n",
            " " * 300,
            "\x1b[31m\x07\u2028",
            "e\u0301 שלום 👨\u200d👩\u200d👧",
        ),
    ],
)
def test_any_text_can_be_plotted(text, tmp_path):
    figure = character_bits_figure(text, np.ones(len(text)), r"of a file called $\frac$")
    save(figure, tmp_path / "character_bits.png")


def test_figures_refuse_invalid_arguments():
    with pytest.raises(InputError, match="the same length of at least 1"):
        character_bits_figure("four", np.ones(3), "too few")
    with pytest.raises(InputError, match="at least one row"):
        bits_figure([], {}, "none")
