"""Wrappers of cells: layer normalization, a learned start, and several at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from apart import RESETS
from equations import named, sigmoid

from rnn_jax import (
    ConvLSTMCell,
    GatedCell,
    GRUCell,
    InputError,
    LSTMCarry,
    LSTMCell,
    MinGRUCell,
    ResetBeforeGRUCell,
    drop_connect,
    dropout,
    gate_activations,
    layer_norm,
    learned_carry,
    unbiased,
    zoneout,
)
from rnn_jax.testing.oracle import B, D, assert_close, assert_same, inner, problem, run, run_back

H = 3
KEY = jax.random.key(0)
NESTED = layer_norm(zoneout(dropout(learned_carry(LSTMCell(2)), 0.3, 0.4), 0.2, 0.3))
NESTED_STEP = zoneout(dropout(learned_carry(ResetBeforeGRUCell(2)), inputs=0.3), 0.2)
LENGTHS = np.array([0, 3, 7, 5], np.int32)


def norm(gates):
    parts = gates.reshape(*gates.shape[:-1], -1, H)
    parts = parts - parts.mean(-1, keepdims=True)
    deviation = np.sqrt((parts**2).mean(-1, keepdims=True) + 1e-6)
    return (parts / deviation).reshape(gates.shape)


def ba(params, xs, carry):
    """Ba et al. (2016): an LSTM with normalized sums in its gates."""
    (w, u, b), x_scale, h_scale, shift = params
    (h, c), hs, seen = carry, [], []
    for x in xs:
        net = x_scale * norm(x @ w + b) + shift + h_scale * norm(h @ u)
        i, f, g, o = np.split(net, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
        seen.append((i, f, g, o))
    return LSTMCarry(h, c), np.array(hs), named("ifgo", seen)


def test_an_lstm_with_layer_norm_equals_the_equations_of_its_paper(float64):
    cell = layer_norm(LSTMCell(H))
    params, xs, carry, _ = given = problem(cell)
    last, ys, gates = ba(*jax.device_get(given[:3]))
    assert_close(run(cell, params, xs, carry), (last, ys))
    assert_close(gate_activations(cell, params, xs, carry), gates)


def test_the_shift_of_a_norm_starts_as_the_bias_of_the_cell():
    params = layer_norm(LSTMCell(H, forget_bias=2.0)).init(KEY, D)
    np.testing.assert_array_equal(params.shift, np.repeat([0, 2, 0, 0], H))
    assert not np.any(params.inner.b)
    assert np.all(params.x_scale == 1) and np.all(params.h_scale == 1)


@pytest.mark.parametrize("cell", [LSTMCell(1), GRUCell(H), MinGRUCell(H), ConvLSTMCell(1)])
def test_layer_norm_of_equal_units_is_finite_with_its_gradient(cell):
    cell = layer_norm(cell)
    point = jax.tree.map(jnp.zeros_like, problem(cell, dtype=jnp.float32)[:3])
    results = run_back(cell, *point, problem(cell, dtype=jnp.float32).cotangents)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(results))


@pytest.mark.parametrize("cell", [LSTMCell(H), ResetBeforeGRUCell(H)], ids=["lstm", "step"])
def test_a_learned_carry_starts_at_that_of_the_cell_and_is_trained(cell, float64):
    cell = learned_carry(cell)
    assert_same(cell.init(KEY, D).carry, cell.initial_carry())
    params, xs, _, cotangents = problem(cell)
    start = cell.start(params, (B,), jnp.float64)
    given, _ = run_back(cell, params, xs, start, cotangents)

    def height(params):
        values = run(cell, params, xs)
        return inner(values, cotangents)

    assert_close(run(cell, params, xs), given)
    direction = problem(cell, seed=1).params.carry
    moved = [
        params._replace(carry=jax.tree.map(lambda c, d, s=s: c + s * d, params.carry, direction))
        for s in (1e-5, -1e-5)
    ]
    _, (_, _, d_start) = run_back(cell, params, xs, start, cotangents)
    slope = inner(jax.tree.map(lambda d: d.sum(0), d_start), direction)
    np.testing.assert_allclose((height(moved[0]) - height(moved[1])) / 2e-5, slope, rtol=1e-7)


@pytest.mark.parametrize(
    "cell, drivers",
    [(NESTED, ("scan", "chunked")), (NESTED_STEP, ("scan", "auto"))],
    ids=["gated", "step"],
)
def test_nested_noise_and_gradients_agree_between_drivers(cell, drivers, float64):
    given = problem(cell, features=1)
    how = {"key": KEY, "lengths": LENGTHS, "resets": RESETS}
    values, gradients = run_back(cell, *given, driver=drivers[0], **how)
    assert_close(run_back(cell, *given, driver=drivers[1], **how), (values, gradients))
    point, step = given[:3], 1e-6
    direction = problem(cell, features=1, seed=1)[:3]

    def height(distance):
        moved = jax.tree.map(lambda p, d: p + distance * d, tuple(point), tuple(direction))
        return inner(
            run_back(cell, *moved, given.cotangents, driver=drivers[0], **how)[0], given.cotangents
        )

    slope = (height(step) - height(-step)) / (2 * step)
    np.testing.assert_allclose(slope, inner(gradients, tuple(direction)), rtol=1e-7)


def test_a_wrapper_has_the_sizes_and_gates_of_its_cell():
    for cell in LSTMCell(H), ConvLSTMCell(H):
        outer = NESTED.__class__(zoneout(cell, 0.1))
        assert (outer.hidden_size, outer.output_size) == (H, H)
        assert (outer.gates, outer.keep_gate, outer.write_gate) == (("i", "f", "g", "o"), "f", "i")
        assert outer.spatial_axes == cell.spatial_axes
        assert outer.input_size(outer.init(KEY, D)) == D


class Keyed(GatedCell):
    """A gated cell whose parameters are a dict."""

    gates = ("h",)

    def init(self, key, input_size):
        return super().init(key, input_size)._asdict()

    def update(self, params, carry, x_gates, h_gates):
        return carry


STEP = ResetBeforeGRUCell(H)
MISTAKES = [
    (lambda: dropout(LSTMCell(H), inputs=1.0), "inputs must be at least 0 and below 1, got 1.0"),
    (lambda: dropout(LSTMCell(H), state=-0.1), "state must be at least 0 and below 1, got -0.1"),
    (
        lambda: dropout(STEP, state=0.1),
        "state dropout needs a GatedCell, but ResetBeforeGRUCell is not one",
    ),
    (lambda: drop_connect(LSTMCell(H), np.nan), "rate must be at least 0 and below 1, got nan"),
    (lambda: drop_connect(LSTMCell(H), "a"), "rate must be at least 0 and below 1, got 'a'"),
    (lambda: zoneout(LSTMCell(H)), "needs 1 rate or 2, one for each field of the carry of LSTM"),
    (lambda: zoneout(LSTMCell(H), 0.1, 0.2, 0.3), "got 3"),
    (lambda: zoneout(LSTMCell(H), 0.1, 2.0), "rates[1] must be at least 0 and below 1, got 2.0"),
    (lambda: layer_norm(STEP), "layer_norm needs a GatedCell, but ResetBeforeGRUCell is not"),
    (
        lambda: dropout(MinGRUCell(H), state=0.9),
        "MinGRUCell, whose gates do not depend",
    ),
    (lambda: dropout(zoneout(MinGRUCell(H), 0.1), state=0.9), "no effect on MinGRUCell"),
    (
        lambda: drop_connect(MinGRUCell(H), 0.5),
        "drop_connect needs params with w_h, but those of MinGRUCell have none",
    ),
    (lambda: drop_connect(layer_norm(LSTMCell(H)), 0.5), "before layer_norm and learned_carry"),
    (
        lambda: unbiased(layer_norm(LSTMCell(H))),
        "unbiased needs params with b, but those of LayerNormCell have none",
    ),
    (lambda: unbiased(unbiased(LSTMCell(H))), "those of UnbiasedCell have none"),
    (lambda: unbiased(Keyed(H)), "those of Keyed have none"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("make, words", MISTAKES, ids=[words for _, words in MISTAKES])
def test_a_mistake_is_one_sentence(make, words):
    with pytest.raises(InputError) as error:
        make()
    assert words in str(error.value)
