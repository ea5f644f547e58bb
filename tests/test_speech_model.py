"""The CTC model, compared with its parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import InputError, RNNCell
from rnn_jax.models.speech import CTCModel, build_ctc_model
from rnn_jax.testing.oracle import assert_close

T, B, D, LABELS = 9, 3, 4, 5
MEAN, SCALE = [1.0, 2.0, 3.0, 4.0], [0.5, 1.0, 2.0, 4.0]
XS = 3 + jax.random.normal(jax.random.key(0), (T, B, D))


def model(**options):
    return CTCModel(RNNCell(6), MEAN, SCALE, LABELS, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_scores_are_those_of_the_layers_for_joined_normalized_frames(bidirectional, stride):
    net = model(bidirectional=bidirectional, stride=stride)
    normal = (np.asarray(XS) - MEAN) / SCALE
    joined = [np.concatenate(normal[t : t + stride], -1) for t in range(0, T - stride + 1, stride)]
    carries, ys = net.rnn(jnp.asarray(joined, jnp.float32))
    assert_close(net(XS), (carries, net.output(ys)), 1e-5)
    assert net(XS)[1].shape == (T // stride, B, 1 + LABELS)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_frames_after_the_length_do_not_matter(bidirectional):
    net = model(bidirectional=bidirectional, stride=2)
    lengths = jnp.array([9, 4, 5])
    _, whole = net(XS, lengths=lengths)
    for n, length in enumerate(np.asarray(lengths)):
        _, alone = net(XS[:length, n : n + 1])
        assert_close(whole[: length // 2, n : n + 1], alone, 1e-5)


def test_a_sequence_in_two_parts_gives_the_scores_of_the_whole():
    net = model(bidirectional=False, stride=2)
    carry, first = net(XS[:4])
    last, second = net(XS[4:], carry)
    assert_close((last, jnp.concatenate([first, second])), net(XS), 1e-5)


def test_dropout_needs_a_key_and_changes_the_scores():
    net = model(dropout=0.5)
    plain, (_, dropped) = net(XS), net(XS, key=jax.random.key(1))
    assert_close(plain, model()(XS), 1e-6)
    assert abs(dropped - plain[1]).max() > 1e-3


def test_a_model_follows_from_the_settings_of_a_run():
    settings = {"cell": "rnn", "hidden_size": 6, "seed": 0, "num_labels": LABELS, "num_layers": 3}
    settings |= {"bidirectional": True, "stride": 2, "dropout": 0.1}
    settings |= {"feature_mean": MEAN, "feature_scale": SCALE}
    built = build_ctc_model(settings)
    options = {"num_layers": 3, "stride": 2, "dropout": 0.1, "rngs": nnx.Rngs(0)}
    expected = CTCModel(RNNCell(6), MEAN, SCALE, LABELS, **options)
    assert_close(built(XS), expected(XS), 1e-6)
    assert nnx.graphdef(built) == nnx.graphdef(expected)
    with pytest.raises(InputError, match="must name stride"):
        build_ctc_model({name: value for name, value in settings.items() if name != "stride"})


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("num_layers must be a positive integer", {"num_layers": 0}),
        ("stride must be a positive integer", {"stride": 0}),
        ("dropout must be", {"dropout": 1.0}),
    ],
)
def test_a_bad_argument_is_one_sentence(message, options):
    with pytest.raises(InputError, match=message):
        model(**options)


def test_scales_must_be_positive_and_as_many_as_means():
    for scale in ([1.0], [1.0, 1.0, 1.0, 0.0]):
        with pytest.raises(InputError, match="a positive number for each of the 4 means"):
            CTCModel(RNNCell(6), MEAN, scale, LABELS, rngs=nnx.Rngs(0))
