"""Stacked and bidirectional layers, compared with `unroll` of their parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import (
    RNN,
    Bidirectional,
    ConvLSTMCell,
    GatedCell,
    GRUCell,
    InputError,
    LSTMCell,
    Stacked,
    dropout,
    unroll,
)
from rnn_jax.testing.oracle import assert_close, assert_same

T, B, D, H = 5, 3, 2, 4
XS = jax.random.normal(jax.random.key(1), (T, B, D))
LENGTHS = jnp.array([5, 0, 3])
KEY = jax.random.key(2)
RNGS = nnx.Rngs(0)
LSTM, GRU = RNN(LSTMCell(H), D, rngs=RNGS), RNN(GRUCell(H), H, rngs=RNGS)
BOTH = Bidirectional(GRUCell(H), D, rngs=RNGS)
BATCH_MAJOR = RNN(LSTMCell(H), D, time_major=False, rngs=RNGS)
lengths_or_none = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])


def by_hand(layer, xs, carry=None, **options):
    return unroll(layer.cell, layer.weights(), xs, carry, **options)


def flipped(xs, lengths):
    t = np.arange(T)[:, None]
    ends = np.full(B, T) if lengths is None else np.asarray(lengths)
    return xs[np.where(t < ends, ends - 1 - t, t), np.arange(B)]


@lengths_or_none
def test_a_stack_feeds_each_layer_the_outputs_of_the_one_before(lengths):
    first, ys = by_hand(LSTM, XS, lengths=lengths)
    second, ys = by_hand(GRU, ys, lengths=lengths)
    assert_close(Stacked([LSTM, GRU])(XS, lengths=lengths), ((first, second), ys), 1e-6)


@lengths_or_none
def test_bidirectional_runs_forward_and_on_flipped_inputs(lengths):
    (ahead, back), ys = BOTH(XS, lengths=lengths)
    assert_close((ahead, ys[..., :H]), by_hand(BOTH.forward, XS, lengths=lengths), 1e-6)
    last, out = by_hand(BOTH.backward, flipped(XS, lengths), lengths=lengths)
    assert_close((back, ys[..., H:]), (last, flipped(out, lengths)), 1e-6)


def test_bidirectional_outputs_can_be_summed():
    layer = Bidirectional(GRUCell(H), D, merge="sum", rngs=nnx.Rngs(0))
    _, ys = layer(XS)
    (_, ahead), (_, back) = by_hand(layer.forward, XS), by_hand(layer.backward, XS, reverse=True)
    assert layer.output_size == H
    assert_close(ys, ahead + back, 1e-6)


def test_a_stack_continues_from_its_carries():
    stack = Stacked([LSTM, GRU])
    carry, head = stack(XS[:2])
    carry, tail = stack(XS[2:], carry)
    assert_close((carry, jnp.concatenate([head, tail])), stack(XS), 1e-6)


def test_bidirectional_starts_from_both_carries():
    given, _ = BOTH(XS)
    carry, ys = BOTH(XS, given)
    assert_close((carry.forward, ys[..., :H]), by_hand(BOTH.forward, XS, given.forward), 1e-6)
    back = by_hand(BOTH.backward, XS, given.backward, reverse=True)
    assert_close((carry.backward, ys[..., H:]), back, 1e-6)


def test_bidirectional_layers_can_be_stacked():
    above = RNN(LSTMCell(3), 2 * H, rngs=RNGS)
    carry, ys = Stacked([BOTH, above])(XS, lengths=LENGTHS)
    below = BOTH(XS, lengths=LENGTHS)
    assert_close((carry[0], (carry[1], ys)), (below[0], above(below[1], lengths=LENGTHS)), 1e-6)


def test_residual_layers_add_inputs_where_sizes_agree():
    _, low = by_hand(LSTM, XS)
    _, high = by_hand(GRU, low)
    _, ys = Stacked([LSTM, GRU], residual=True)(XS)
    assert_close(ys, high + low, 1e-6)


@pytest.mark.parametrize(
    "counts",
    [{"lengths": LENGTHS}, {"mask": jnp.arange(T)[:, None] < LENGTHS}],
    ids=["lengths", "mask"],
)
def test_residual_layers_output_zeros_at_masked_steps(counts):
    padding = np.arange(T)[:, None] >= LENGTHS
    layer = RNN(GRUCell(D), D, rngs=nnx.Rngs(0))
    _, ys = Stacked([layer, layer], residual=True)(
        jnp.where(padding[..., None], jnp.nan, XS), **counts
    )
    assert not np.any(ys[padding])
    assert np.all(np.isfinite(ys))


def test_a_stack_drops_units_between_layers_only_with_a_key():
    stack, plain = Stacked([LSTM, GRU], dropout=0.5), Stacked([LSTM, GRU])
    assert_same(stack(XS), plain(XS))
    _, ys = stack(XS, key=KEY)
    assert_same(stack(XS, key=KEY)[1], ys)
    assert np.any(ys != stack(XS, key=jax.random.key(3))[1])
    assert_same(plain(XS, key=KEY), plain(XS))


def test_a_stack_drops_the_same_units_at_every_step():
    below = RNN(LSTMCell(400), D, rngs=nnx.Rngs(0))
    seen = []

    class Watch(nnx.Module):
        input_size = output_size = 400

        def __call__(self, xs, carry, **options):
            seen.append(xs)
            return carry, xs

    Stacked([below, Watch()], dropout=0.25)(XS, key=KEY)
    scale = np.asarray(seen[0] / below(XS)[1])
    np.testing.assert_allclose(scale, np.broadcast_to(scale[0], scale.shape), rtol=1e-5)
    assert np.all((scale == 0) | (np.abs(scale - 4 / 3) < 1e-5))
    np.testing.assert_allclose(scale[0].mean(), 1, atol=0.05)


def test_each_layer_and_direction_gets_its_own_key():
    noisy = dropout(GRUCell(H), inputs=0.5)
    layer = Bidirectional(noisy, D, rngs=nnx.Rngs(0))
    layer.backward = layer.forward
    xs = jnp.ones((1, 50, D))
    (ahead, back), _ = layer(xs, key=KEY)
    assert np.any(ahead.h != back.h)
    same = RNN(noisy, H, rngs=nnx.Rngs(0))
    ys = Stacked([same, same])(jnp.ones((1, 50, H)), key=KEY)[0]
    assert np.any(ys[0].h != ys[1].h)


def test_streaming_step_by_step_equals_the_whole():
    carry, ys = None, []
    for x in XS:
        carry, y = LSTM.step(x, carry)
        ys.append(y)
    assert_close((carry, jnp.stack(ys)), LSTM(XS), 1e-6)


def test_a_convolutional_layer_streams_too():
    layer = RNN(ConvLSTMCell(2), 1, rngs=nnx.Rngs(0))
    carry, y = layer.step(jnp.ones((B, 4, 4, 1)))
    assert y.shape == carry.c.shape == (B, 4, 4, 2)


def test_bfloat16_products_keep_float32_carries():
    layers = [
        RNN(LSTMCell(H), D, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)),
        Bidirectional(GRUCell(H), H, dtype=jnp.bfloat16, rngs=nnx.Rngs(1)),
    ]
    results = Stacked(layers)(XS)
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype("float32")}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Stacked([]), "at least one layer, got none"),
        (lambda: Stacked([LSTM, LSTM]), "layers[1] takes 2 features and layers[0] gives 4"),
        (lambda: Stacked([BOTH, GRU]), "layers[1] takes 4 features and layers[0] gives 8"),
        (lambda: Stacked([LSTM], dropout=1.0), "dropout must be at least 0 and below 1, got 1.0"),
        (lambda: Stacked([LSTM, GRU])(XS, [None]), "carry must hold 2 carries, got 1"),
        (
            lambda: Stacked([LSTM, GRU])(XS[..., :1]),
            "xs has 1 features, but the cell was made for 2",
        ),
        (lambda: Bidirectional(GRUCell(H), D, merge="mean", rngs=RNGS), "'sum', got 'mean'"),
        (lambda: RNN(LSTMCell(H), D, init="gain", rngs=RNGS), "init must be an Initializer such"),
        (lambda: RNN(LSTMCell(H), D, init=None, rngs=RNGS), "got None"),
        (
            lambda: RNN(LSTMCell, D, rngs=RNGS),
            "RNN needs a cell, got the class LSTMCell",
        ),
        (lambda: RNN("lstm", D, rngs=RNGS), "such as LSTMCell(hidden_size=64), got 'lstm'"),
        (lambda: RNN(GatedCell(H), D, rngs=RNGS), "GatedCell is incomplete"),
        (lambda: RNN(LSTMCell(H), D, rngs=0), "rngs must be an nnx.Rngs, e.g. nnx.Rngs(0); got 0"),
        (lambda: RNN(LSTMCell(H), D, rngs=None), "rngs must be an nnx.Rngs"),
        (lambda: RNN(LSTMCell(H), D, rngs=KEY), "rngs must be an nnx.Rngs"),
        (lambda: RNN(LSTMCell(H), D, rngs=nnx.Rngs), "got the class Rngs"),
        (lambda: RNN(LSTMCell(H), -1, rngs=RNGS), "input_size must be a positive integer"),
        (lambda: RNN(LSTMCell(H), D, driver="fast", rngs=RNGS), "driver must be one of auto"),
        (lambda: RNN(LSTMCell(H), D, dtype="half-ish", rngs=RNGS), "got 'half-ish'"),
        (
            lambda: RNN(LSTMCell(H), D, dtype=jnp.int32, rngs=RNGS),
            "floating-point dtype, got int32",
        ),
        (lambda: RNN(LSTMCell(10**6), D, rngs=RNGS), "more than this machine's memory"),
        (lambda: RNN(LSTMCell(10**12), D, rngs=RNGS), "hidden_size=1000000000000"),
        (lambda: RNN(LSTMCell(H), 10**12, rngs=RNGS), "input_size=1000000000000"),
        (
            lambda: Stacked([LSTMCell(8)]),
            "is the cell LSTMCell, which holds no parameters",
        ),
        (lambda: Stacked([LSTM, GRUCell]), "layers[1] is the cell GRUCell"),
        (lambda: Stacked(LSTM), "layers must be a list of layers, got a RNN"),
        (lambda: Stacked("ab"), "layers must be a list of layers, got a str"),
        (lambda: Stacked([LSTM, None]), "layers[1] must be a layer with an input_size"),
        (lambda: Stacked([RNN]), "got the class RNN"),
        (lambda: Stacked([LSTM])(XS, LSTM(XS)[0]), "must be a tuple of 1 carries"),
        (lambda: Stacked([BOTH])(XS, reverse=True), "cannot run with reverse=True"),
        (lambda: RNN(LSTMCell(H), D, time_major=1, rngs=RNGS), "must be True or False, got 1"),
        (lambda: Stacked([BATCH_MAJOR]), "layers[0] has time_major=False"),
        (lambda: BATCH_MAJOR(XS[0, 0]), "at least 2 dimensions"),
        (
            lambda: BATCH_MAJOR(XS, mask=jnp.ones((B, T), bool)),
            "mask must have shape (5, 3) with time_major=False",
        ),
        (lambda: BOTH(XS, LSTM(XS)[0]), "must be BothCarries(forward, backward), got a LSTMCarry"),
        (lambda: Bidirectional(GRUCell, D, rngs=RNGS), "got the class GRUCell"),
    ],
)
def test_errors_are_one_sentence(make, words):
    with pytest.raises(InputError) as error:
        make()
    assert words in str(error.value)
