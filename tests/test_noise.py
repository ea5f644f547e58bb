"""Noise in cells: sampled once from a key, the same at every step, with mean 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H
from equations import by_gate, sigmoid

from rnn_jax import (
    ConvLSTMCell,
    LSTMCarry,
    LSTMCell,
    ResetBeforeGRUCell,
    drop_connect,
    dropout,
    zoneout,
)
from rnn_jax.testing.oracle import assert_close, assert_same, problem, run

pytestmark = pytest.mark.usefixtures("float64")

KEY, OTHER = jax.random.key(0), jax.random.key(1)
LSTM, STEP = LSTMCell(H), ResetBeforeGRUCell(H)
NOISY = {
    "dropout": dropout(LSTM, 0.4, 0.3),
    "dropout_of_a_step": dropout(STEP, 0.5),
    "drop_connect": drop_connect(LSTM, 0.4),
    "drop_connect_of_a_step": drop_connect(STEP, 0.4),
    "zoneout": zoneout(LSTM, 0.3, 0.4),
    "zoneout_of_a_step": zoneout(STEP, 0.4),
    "dropout_of_pictures": dropout(ConvLSTMCell(H), 0.4, 0.3),
}
SILENT = {
    "dropout": dropout(LSTM),
    "drop_connect": drop_connect(LSTM, 0.0),
    "zoneout": zoneout(LSTM, 0.0),
    "dropout_of_a_step": dropout(STEP),
    "zoneout_of_a_step": zoneout(STEP, 0.0),
}


def every(table):
    return pytest.mark.parametrize("cell", table.values(), ids=table)


def lstm(params, xs, carry, x_mask=1.0, h_mask=1.0, h_moves=None, c_moves=None):
    """Reference LSTM with explicit masks for dropout and zoneout."""
    weights = by_gate(params, "ifgo")
    (h, c), hs = carry, []
    for t, x in enumerate(xs):
        net = {g: (x * x_mask) @ w + (h * h_mask) @ u + b for g, (w, u, b) in weights.items()}
        new_c = sigmoid(net["f"]) * c + sigmoid(net["i"]) * np.tanh(net["g"])
        new_h = sigmoid(net["o"]) * np.tanh(new_c)
        h = new_h if h_moves is None else h_moves[t] * new_h + (1 - h_moves[t]) * h
        c = new_c if c_moves is None else c_moves[t] * new_c + (1 - c_moves[t]) * c
        hs.append(h)
    return LSTMCarry(h, c), np.array(hs)


def drawn(cell):
    """A problem in NumPy, and the masks sampled for it."""
    given = problem(cell)
    _, params, xs = cell.sampled(given.params, given.xs, KEY)
    return jax.device_get((given, params, xs))


@every({name: cell for name, cell in NOISY.items() if not name.startswith("zoneout")})
def test_without_a_key_dropout_is_exactly_the_cell(cell):
    params, xs, carry, _ = problem(cell)
    assert_same(run(cell, params, xs, carry), run(cell.inner, params, xs, carry))


def test_without_a_key_zoneout_moves_by_the_mean():
    cell = NOISY["zoneout"]
    params, xs, carry, _ = jax.device_get(problem(cell))
    want = lstm(params, xs, carry, h_moves=[0.7] * len(xs), c_moves=[0.6] * len(xs))
    assert_close(run(cell, params, xs, carry), want)


@every(NOISY)
def test_equal_keys_give_equal_results_and_other_keys_differ(cell):
    params, xs, carry, _ = problem(cell)
    first = run(cell, params, xs, carry, key=KEY)
    assert_same(run(cell, params, xs, carry, key=KEY), first)
    assert np.any(run(cell, params, xs, carry, key=OTHER)[1] != first[1])
    assert np.any(run(cell, params, xs, carry)[1] != first[1])


@every(SILENT)
def test_a_rate_of_0_is_exactly_the_cell(cell):
    params, xs, carry, _ = problem(cell)
    assert_close(run(cell, params, xs, carry, key=KEY), run(cell.inner, params, xs, carry), 1e-15)


def test_dropout_drops_the_same_units_at_every_step():
    cell = NOISY["dropout"]
    (params, xs, carry, _), (_, x_mask, h_mask), _ = drawn(cell)
    want = lstm(params, xs, carry, x_mask, h_mask)
    assert_close(run(cell, params, xs, carry, key=KEY), want)
    assert np.any(x_mask[0] != x_mask[1])


def test_drop_connect_drops_the_same_connections_at_every_step():
    cell = NOISY["drop_connect"]
    (params, xs, carry, _), thinned, _ = drawn(cell)
    assert_close(run(cell, params, xs, carry, key=KEY), lstm(thinned, xs, carry))
    kept = thinned.w_h != 0
    assert_close(thinned.w_h, np.where(kept, params.w_h / 0.6, 0))
    assert 0 < kept.mean() < 1
    assert_same(thinned._replace(w_h=params.w_h), params)


def test_zoneout_samples_new_units_at_each_step():
    cell = NOISY["zoneout"]
    (params, xs, carry, _), _, (_, (h_moves, c_moves)) = drawn(cell)
    want = lstm(params, xs, carry, h_moves=h_moves, c_moves=c_moves)
    assert_close(run(cell, params, xs, carry, key=KEY), want)
    assert np.any(h_moves[0] != h_moves[1])
    assert np.any(h_moves != c_moves)


def test_masks_have_mean_1_and_the_given_rates():
    wide, xs = LSTMCell(50), jnp.ones((2, 200, 50))
    params = wide.init(KEY, 50)
    _, drawn_params, _ = dropout(wide, 0.2, 0.4).sampled(params, xs, KEY)
    for mask, rate in (drawn_params.inputs, 0.2), (drawn_params.state, 0.4):
        np.testing.assert_allclose(mask.mean(), 1, atol=0.03)
        np.testing.assert_allclose((mask == 0).mean(), rate, atol=0.02)
    _, _, (_, moves) = zoneout(wide, 0.2, 0.4).sampled(params, xs, KEY)
    np.testing.assert_allclose([m.mean() for m in moves], [0.8, 0.6], atol=0.02)
    ones = params._replace(w_h=jnp.ones((50, 200)))
    _, thinned, _ = drop_connect(wide, 0.3).sampled(ones, xs, KEY)
    np.testing.assert_allclose(thinned.w_h.mean(), 1, atol=0.03)
    np.testing.assert_allclose((thinned.w_h == 0).mean(), 0.3, atol=0.02)


def test_drop_connect_reaches_the_connections_through_dropout():
    params, xs, carry, _ = problem(LSTM)
    inside, outside = dropout(drop_connect(LSTM, 0.4)), drop_connect(dropout(LSTM), 0.4)
    for cell in inside, outside:
        assert np.any(run(cell, params, xs, carry, key=KEY)[1] != run(LSTM, params, xs, carry)[1])
