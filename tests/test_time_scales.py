"""Half-lives of series with a known slope, time constants of gates with known values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnn_jax import GRUCell, InputError, LSTMCell, RNNCell, gate_activations
from rnn_jax.analysis.time_scales import gate_statistics, half_life, time_constant
from rnn_jax.cells.gate_params import gate_bias
from rnn_jax.initializers import Chrono, Gain, Identity, Orthogonal

KEY = jax.random.key(0)
FIFTY = np.arange(50.0)


@given(st.floats(-3, 3), st.integers(30, 200), st.floats(-700, 300))
def test_the_slope_of_a_straight_line_is_exact(slope, length, start):
    found = half_life(start + slope * np.arange(length))
    np.testing.assert_allclose(found.slope, slope, atol=1e-9)
    steps = np.log10(2) / abs(slope) if abs(slope) > 1e-6 else np.inf
    if steps < 0.99 * length:
        assert found.kind == ("vanishes" if slope < 0 else "explodes")
        np.testing.assert_allclose(found.steps, steps, rtol=1e-6)
    elif steps > 1.01 * length:
        assert found.kind == "carried"


def test_a_gradient_that_halves_each_seven_steps_has_that_half_life():
    found = half_life(-FIFTY / 7 * np.log10(2))
    assert found.kind == "vanishes"
    assert found.steps == pytest.approx(7)


def test_a_gradient_that_stays_is_carried():
    assert half_life(np.zeros(50)) == ("carried", np.inf, 0)


def test_the_steps_next_to_the_loss_do_not_change_the_slope():
    series = -0.1 * FIFTY
    series[:10] += np.linspace(5, 0, 10)
    assert half_life(series).slope == pytest.approx(-0.1)


def test_zeros_at_the_start_are_skipped():
    series = np.concatenate([[-np.inf], -0.1 * FIFTY])
    assert half_life(series) == half_life(-0.1 * FIFTY)


def test_a_gradient_that_becomes_zero_vanishes():
    found = half_life(np.concatenate([np.zeros(10), np.full(40, -np.inf)]))
    assert found[:2] == ("vanishes", 10)
    assert half_life(np.full(5, -np.inf)) == ("vanishes", 0, -np.inf)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_series_that_overflowed_is_undefined(value):
    found = half_life(np.append(FIFTY, value))
    assert found.kind == "undefined"
    assert np.isnan(found.slope)


def test_the_time_constant_of_a_constant_gate():
    statistics = gate_statistics({"f": jnp.full((5, 2, 3), np.exp(-1 / 20))})["f"]
    np.testing.assert_allclose(statistics.time_constant, np.full(5, 20), rtol=1e-5)
    np.testing.assert_array_equal(statistics.high, np.ones(5))
    np.testing.assert_array_equal(statistics.low, np.zeros(5))


def test_fractions_of_low_and_high_gates_are_per_step():
    gate = jnp.array([[[0.05, 0.5], [0.95, 0.99]], [[0.5, 0.5], [0.5, 0.01]]])
    statistics = gate_statistics({"f": gate})["f"]
    np.testing.assert_allclose(statistics.mean, [0.6225, 0.3775])
    np.testing.assert_allclose(statistics.low, [0.25, 0.25])
    np.testing.assert_allclose(statistics.high, [0.5, 0])


def test_the_time_constant_is_0_for_a_zero_gate_and_inf_for_ones():
    gate = jnp.array([[0.0, 1.0, 0.5], [1.0, 1.0, 0.5]])
    np.testing.assert_allclose(time_constant(gate), [0, np.inf, 1 / np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("cell", [LSTMCell(500), GRUCell(500)], ids=["lstm", "gru"])
def test_chrono_biases_spread_time_constants_over_the_whole_range(cell):
    keep, write = cell.keep_gate, cell.write_gate
    longest, shapes = 100, jax.eval_shape(lambda: cell.init(KEY, 1))
    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape), shapes)
    params = Chrono(longest).adjust(cell, zeros, KEY)
    gates = gate_activations(cell, params, jnp.zeros((1, 1)))
    constants = time_constant(gates[keep])
    constants = np.asarray(constants)
    assert 1 < np.min(constants) < 5
    assert 0.95 * longest < np.max(constants) < longest
    assert abs(np.mean(constants) - longest / 2) < 5
    if write:
        np.testing.assert_allclose(gates[write], 1 - gates[keep], atol=1e-6)
    others = set(cell.gates) - {keep, write}
    before = gate_activations(cell, zeros, jnp.zeros((1, 1)))
    for gate in others:
        np.testing.assert_array_equal(gates[gate], before[gate])


def test_recurrent_initializers_change_only_the_recurrent_matrix():
    cell = LSTMCell(4)
    params = cell.init(KEY, 2)
    for init in (Identity(), Orthogonal(), Gain(1.1)):
        new = init.adjust(cell, params, jax.random.key(1))
        assert np.any(new.w_h != params.w_h)
        assert new._replace(w_h=None) == params._replace(w_h=None)
        assert new.w_h.dtype == params.w_h.dtype
    identity = Identity().adjust(cell, params).w_h
    np.testing.assert_array_equal(identity, np.tile(np.eye(4), 4))
    orthogonal = Orthogonal().adjust(cell, Gain(3).adjust(cell, params), KEY).w_h
    for block in np.split(np.array(orthogonal), 4, axis=1):
        np.testing.assert_allclose(block.T @ block, np.eye(4), atol=1e-6)


def test_an_initializer_that_does_not_fit_the_cell_is_an_error():
    cell = RNNCell(3)
    params = cell.init(KEY, 2)
    with pytest.raises(InputError, match="RNNCell has no gate 'f'; its gates are"):
        gate_bias(cell, params, "f", 1.0)
    with pytest.raises(InputError, match=r"Chrono sets the bias of the gate .* RNNCell names none"):
        Chrono(10)(cell, KEY, 2)
    with pytest.raises(InputError, match="sets w_h, which HiddenCarry does not have"):
        Gain(2.0).adjust(cell, cell.initial_carry())
