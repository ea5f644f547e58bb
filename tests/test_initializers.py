"""Initial parameters of cells."""

import jax
import numpy as np
import pytest
from cells import H

from rnn_jax import (
    CoRNNCell,
    CoupledLSTMCell,
    GRUCell,
    InputError,
    IRNNCell,
    LRUCell,
    LSTMCell,
    MinGRUCell,
    MinimalGatedCell,
    MinLSTMCell,
    PeepholeLSTMCell,
    RGLRUCell,
    RNNCell,
    SLSTMCell,
)
from rnn_jax.cells.gate_params import orthogonal_per_gate, per_gate
from rnn_jax.initializers import (
    FORMS,
    Chrono,
    Default,
    ForgetBias,
    Gain,
    Identity,
    Orthogonal,
    Uniform,
    parse_init,
)
from rnn_jax.testing.oracle import D, assert_same

KEY = jax.random.key(0)
with_an_init_of_its_own = pytest.mark.parametrize("cell", [LSTMCell(H), GRUCell(H)])


@with_an_init_of_its_own
def test_recurrent_weights_are_orthogonal_gate_by_gate(cell):
    w_h = np.array(cell.init(KEY, D).w_h)
    for block in np.split(w_h, len(cell.gates), axis=1):
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-6)


@with_an_init_of_its_own
def test_parameters_are_a_function_of_the_key(cell):
    params = cell.init(KEY, D)
    assert_same(cell.init(KEY, D), params)
    other = cell.init(jax.random.key(1), D)
    assert not np.any(other.w_x == params.w_x)
    assert not np.any(other.w_h == params.w_h)


def test_each_gate_is_initialized_from_a_separate_key():
    w_h = np.array(orthogonal_per_gate(KEY, H, 4))
    assert len(np.unique(w_h)) == w_h.size


def test_each_gate_is_initialized_as_a_separate_matrix():
    requested = []

    def init(key, shape, dtype):
        requested.append((shape, dtype))
        return jax.numpy.ones(shape, dtype)

    assert per_gate(init, KEY, rows=5, hidden_size=2, gates=3).shape == (5, 6)
    assert set(requested) == {((5, 2), jax.numpy.float32)}


@pytest.mark.parametrize("forget_bias", [0.0, 1.0, -2.5])
def test_the_bias_of_an_lstm_is_the_forget_bias_for_f_and_zero_elsewhere(forget_bias):
    b = LSTMCell(H, forget_bias=forget_bias).init(KEY, D).b
    np.testing.assert_array_equal(b, np.repeat([0, forget_bias, 0, 0], H))


def test_both_biases_of_a_gru_are_zero():
    params = GRUCell(H).init(KEY, D)
    np.testing.assert_array_equal(params.b, np.zeros(3 * H))
    np.testing.assert_array_equal(params.b_h, np.zeros(H))


@pytest.mark.parametrize("cell", [SLSTMCell, CoupledLSTMCell, PeepholeLSTMCell])
def test_every_lstm_has_a_forget_bias(cell):
    cell = cell(H, forget_bias=2.5)
    b = cell.init(KEY, D).b.reshape(len(cell.gates), H)
    want = [[2.5 if gate == "f" else 0] * H for gate in cell.gates]
    np.testing.assert_array_equal(b, want)


def test_a_new_irnn_sums_small_inputs():
    params, plain = IRNNCell(H).init(KEY, D), RNNCell(H).init(KEY, D)
    np.testing.assert_array_equal(params.w_h, np.eye(H))
    np.testing.assert_allclose(params.w_x, 0.1 * plain.w_x, rtol=1e-6)
    assert not np.any(params.b)


def test_peepholes_start_closed():
    assert not np.any(PeepholeLSTMCell(H).init(KEY, D).p)


@pytest.mark.parametrize("radii", [(0.0, 0.5), (0.9, 0.999), (0.99, 1.0)])
def test_eigenvalues_of_an_lru_start_uniform_in_a_ring(radii):
    params = LRUCell(500, radii=radii, largest_angle=3.0).init(KEY, D)
    moduli, angles = np.exp(-np.exp(params.nu)), np.exp(params.theta)
    low, high = radii
    assert np.all((moduli >= low - 1e-6) & (moduli <= high + 1e-6))
    np.testing.assert_allclose((moduli**2).mean(), (low**2 + high**2) / 2, rtol=0.1)
    assert np.all((angles > 0) & (angles <= 3.0))
    np.testing.assert_allclose(np.exp(params.gamma) ** 2, 1 - moduli**2, rtol=1e-3, atol=1e-6)


def test_white_noise_makes_states_and_outputs_of_norm_1_in_a_new_lru():
    cell = LRUCell(300, radii=(0.4, 0.8))
    params = cell.init(KEY, 300)
    xs = jax.random.normal(jax.random.key(1), (60, 4, 300))
    (re, im), ys = jax.lax.scan(
        lambda carry, x: cell.step(params, carry, x), cell.initial_carry((4,)), xs
    )
    np.testing.assert_allclose((re**2 + im**2).mean(), 1, atol=0.15)
    np.testing.assert_allclose((ys[20:] ** 2).mean(), 1, atol=0.15)


def test_a_new_rglru_has_long_and_short_time_scales():
    a = 1 / (1 + np.exp(-RGLRUCell(500).init(KEY, D).decay)) ** 8
    assert np.all((a > 0.899) & (a < 0.9991))
    np.testing.assert_allclose(a.mean(), (0.9 + 0.999) / 2, atol=0.005)


def test_oscillators_depend_on_position_and_velocity():
    assert CoRNNCell(H).init(KEY, D).w_h.shape == (2 * H, H)


@pytest.mark.parametrize(
    "cell, keep, write",
    [
        (LSTMCell(50), "f", "i"),
        (GRUCell(50), "z", None),
        (SLSTMCell(50), "f", None),
        (MinimalGatedCell(50), None, "f"),
        (MinGRUCell(50), None, "z"),
        (MinLSTMCell(50), "f", "i"),
    ],
    ids=lambda value: getattr(type(value), "__name__", None) if not isinstance(value, str) else "",
)
def test_chrono_biases_are_logarithms_of_times(cell, keep, write):
    b = np.asarray(Chrono(20)(cell, KEY, D).b).reshape(len(cell.gates), 50)
    kept = b[cell.gates.index(keep)] if keep else -b[cell.gates.index(write)]
    assert np.all((np.exp(kept) > 0.999) & (np.exp(kept) < 19.001))
    assert np.exp(kept).max() > 15
    if keep and write:
        np.testing.assert_array_equal(b[cell.gates.index(write)], -kept)
    for gate in set(cell.gates) - {keep, write}:
        assert not np.any(b[cell.gates.index(gate)])


def test_uniform_parameters_lie_within_the_bound_of_pytorch():
    cell = GRUCell(64)
    for leaf in jax.tree.leaves(Uniform()(cell, KEY, D)):
        assert np.all(np.abs(leaf) <= 1 / 8)
        assert np.abs(leaf).max() > 0.11


def test_each_init_changes_only_the_parameters_it_names():
    cell = GRUCell(H)
    start = cell.init(KEY, D)
    np.testing.assert_array_equal(Identity()(cell, KEY, D).w_h, np.tile(np.eye(H), 3))
    np.testing.assert_allclose(Gain(0.5)(cell, KEY, D).w_h, 0.5 * start.w_h)
    blocks = np.split(np.asarray(Orthogonal()(cell, KEY, D).w_h), 3, axis=1)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-6)
    forgetful = ForgetBias(-1.5)(cell, KEY, D)
    np.testing.assert_array_equal(forgetful.b, np.repeat([0, -1.5, 0], H))
    assert_same(Default()(cell, KEY, D), start)
    assert_same(forgetful._replace(b=start.b), start)


@pytest.mark.parametrize(
    "init", ["gain", "gain=", "gain=big", "gain=G", "default=1", "=1", "", "Uniform", None, 3]
)
@pytest.mark.usefixtures("unchecked")
def test_parse_init_names_the_known_forms(init):
    with pytest.raises(InputError) as answer:
        parse_init(init)
    assert all(known in str(answer.value) for known in FORMS)


@pytest.mark.parametrize(
    "text, init",
    [
        ("default", Default()),
        ("orthogonal", Orthogonal()),
        ("identity", Identity()),
        ("uniform", Uniform()),
        ("chrono=28", Chrono(28)),
        ("gain=0.9", Gain(0.9)),
        ("forget=-2", ForgetBias(-2)),
    ],
)
def test_parse_init_returns_the_initializer_of_a_text(text, init):
    assert parse_init(text) == init and hash(parse_init(text)) == hash(init)
