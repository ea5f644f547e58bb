"""Noise of layers from `rngs`, as in other Flax NNX layers."""

import jax
import numpy as np
import pytest
from flax import nnx

from rnn_jax import (
    RNN,
    Bidirectional,
    GRUCell,
    InputError,
    SequenceClassifier,
    SequenceModel,
    Stacked,
    dropout,
)
from rnn_jax.testing.oracle import assert_same

XS = jax.random.normal(jax.random.key(1), (5, 3, 2))
NOISY = dropout(GRUCell(4), inputs=0.5)
RNN_LAYER, ABOVE = RNN(NOISY, 2, rngs=nnx.Rngs(0)), RNN(NOISY, 4, rngs=nnx.Rngs(1))
NOISY_LAYERS = {
    "rnn": RNN_LAYER,
    "bidirectional": Bidirectional(NOISY, 2, rngs=nnx.Rngs(0)),
    "stacked": Stacked(
        [RNN(NOISY, 2, rngs=nnx.Rngs(0)), RNN(NOISY, 4, rngs=nnx.Rngs(1))], dropout=0.5
    ),
    "model": SequenceModel(NOISY, 2, 2, rngs=nnx.Rngs(0)),
    "classifier": SequenceClassifier(NOISY, 2, 2, rngs=nnx.Rngs(0)),
}


@pytest.mark.parametrize("layer", NOISY_LAYERS.values(), ids=NOISY_LAYERS)
def test_rngs_give_the_key_of_their_dropout_stream(layer):
    rngs = nnx.Rngs(dropout=0)
    first, second = layer(XS, rngs=rngs), layer(XS, rngs=rngs)
    stream = nnx.Rngs(dropout=0)
    assert_same(first, layer(XS, key=stream.dropout()))
    assert_same(second, layer(XS, key=stream.dropout()))
    assert_same(layer(XS, rngs=nnx.Rngs(3)), layer(XS, key=nnx.Rngs(3).dropout()))


@nnx.jit
def two_calls(layer, rngs):
    return layer(XS, rngs=rngs)[1], layer(XS, rngs=rngs)[1]


def test_rngs_advance_inside_nnx_jit():
    rngs = nnx.Rngs(dropout=0)
    results = [*two_calls(NOISY_LAYERS["rnn"], rngs), *two_calls(NOISY_LAYERS["rnn"], rngs)]
    assert len({np.asarray(ys).tobytes() for ys in results}) == 4


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "noise, words",
    [
        ({"key": jax.random.key(0), "rngs": nnx.Rngs(dropout=0)}, "key and rngs are both given"),
        ({"rngs": nnx.Rngs(params=0)}, "rngs must have a stream 'dropout' or a default stream"),
        ({"rngs": 0}, "rngs must be an nnx.Rngs"),
    ],
)
@pytest.mark.parametrize("layer", NOISY_LAYERS.values(), ids=NOISY_LAYERS)
def test_errors_are_one_sentence(layer, noise, words):
    with pytest.raises(InputError, match=words):
        layer(XS, **noise)
