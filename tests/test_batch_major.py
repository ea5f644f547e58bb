"""Batch-major layers, compared with time-major ones on the same inputs."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from rnn_jax import (
    RNN,
    Bidirectional,
    ConvLSTMCell,
    GRUCell,
    LSTMCell,
    SequenceClassifier,
    SequenceModel,
    Stacked,
)
from rnn_jax.testing.oracle import assert_same

T, B, D, H = 5, 3, 2, 4
XS = jax.random.normal(jax.random.key(1), (T, B, D))
LENGTHS = jnp.array([5, 0, 3])
KEY = jax.random.key(2)
RNGS = nnx.Rngs(0)
LSTM, GRU = RNN(LSTMCell(H), D, rngs=RNGS), RNN(GRUCell(H), H, rngs=RNGS)
LAYOUTS = {
    "rnn": lambda **layout: RNN(LSTMCell(H), D, **layout, rngs=nnx.Rngs(0)),
    "bidirectional": lambda **layout: Bidirectional(GRUCell(H), D, **layout, rngs=nnx.Rngs(0)),
    "stacked": lambda **layout: Stacked([LSTM, GRU], residual=True, dropout=0.5, **layout),
    "model": lambda **layout: SequenceModel(GRUCell(H), D, 2, **layout, rngs=nnx.Rngs(0)),
}
MASK = jnp.array([[True, False, True]] * 3 + [[False, True, True]] * 2)
STEPS = {
    "whole": {},
    "lengths": {"lengths": LENGTHS},
    "mask": {"mask": MASK},
    "resets": {"resets": ~MASK, "lengths": LENGTHS},
    "key": {"key": KEY},
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_batch_major_results_equal_time_major_ones(make, steps):
    carry, ys = make()(XS, **steps)
    flipped = {name: jnp.swapaxes(s, 0, 1) if s.ndim == 2 else s for name, s in steps.items()}
    got, batch_ys = make(time_major=False)(jnp.swapaxes(XS, 0, 1), **flipped)
    assert_same((got, jnp.swapaxes(batch_ys, 0, 1)), (carry, ys))


@pytest.mark.parametrize("readout", ["carry", "outputs"])
@pytest.mark.parametrize("steps", ["whole", "lengths", "mask", "resets"])
def test_a_batch_major_classifier_equals_a_time_major_one(readout, steps):
    xs, flipped = jnp.swapaxes(XS, 0, 1), {}
    for name, value in STEPS[steps].items():
        flipped[name] = value.T if value.ndim == 2 else value
    first, other = (
        SequenceClassifier(
            LSTMCell(H), D, 2, readout=readout, time_major=time_major, rngs=nnx.Rngs(0)
        )
        for time_major in (True, False)
    )
    assert_same(other(xs, **flipped), first(XS, **STEPS[steps]))
    gates = {name: jnp.swapaxes(gate, 0, 1) for name, gate in other.gates(xs, **flipped).items()}
    assert_same(gates, first.gates(XS, **STEPS[steps]))


def test_a_batch_major_layer_takes_several_batch_axes_or_none():
    layer = RNN(LSTMCell(H), D, rngs=nnx.Rngs(0))
    batch_major = RNN(LSTMCell(H), D, time_major=False, rngs=nnx.Rngs(0))
    assert_same(batch_major(XS[:, 0]), layer(XS[:, 0]))
    xs = jnp.stack([XS, 2 * XS], 1)
    carry, ys = batch_major(jnp.moveaxis(xs, 0, 2))
    assert_same((carry, jnp.moveaxis(ys, 2, 0)), layer(xs))


def test_a_batch_major_convolutional_layer_keeps_spatial_axes_last():
    xs = jax.random.normal(KEY, (T, B, 4, 5, 1))
    carry, ys = RNN(ConvLSTMCell(2), 1, rngs=nnx.Rngs(0))(xs)
    layer = RNN(ConvLSTMCell(2), 1, time_major=False, rngs=nnx.Rngs(0))
    for batch_major in (
        layer,
        Stacked([RNN(ConvLSTMCell(2), 1, rngs=nnx.Rngs(0))], time_major=False),
    ):
        got, batch_ys = batch_major(jnp.swapaxes(xs, 0, 1))
        got = got[0] if isinstance(batch_major, Stacked) else got
        assert_same((got, jnp.swapaxes(batch_ys, 0, 1)), (carry, ys))
