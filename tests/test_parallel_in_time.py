"""Quasi-Newton, damping, warm starts, the forecast, and the backward pass in parallel over time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H

from rnn_jax import GRUCell, IndRNNCell, LRUCell, LSTMCell, MinGRUCell, RNNCell, unroll
from rnn_jax.analysis.newton_forecast import newton_forecast
from rnn_jax.drivers.newton import unroll_newton
from rnn_jax.errors import InputError
from rnn_jax.testing.oracle import assert_close, problem, run_back

LENGTHS = np.array([0, 3, 7, 5], np.int32)


def random_net(gain, steps, dtype=np.float32):
    """A tanh RNN of 16 units with a random recurrent matrix of this gain, and its inputs."""
    random = np.random.default_rng(0)
    cell = RNNCell(16)
    params = cell.init(jax.random.key(0), 3)
    params = params._replace(w_h=random.normal(size=(16, 16)) * gain / 4)
    xs = 0.3 * random.normal(size=(steps, 2, 3))
    return cell, *jax.tree.map(lambda x: jnp.asarray(x, dtype), (params, xs))


@pytest.mark.parametrize("driver", ["quasi-newton", "damped-newton", "parallel_backward"])
@pytest.mark.parametrize("cell", [LSTMCell(2), GRUCell(2), IndRNNCell(2, activation="tanh")])
def test_values_and_gradients_are_those_of_the_scan_driver(cell, driver, float64):
    point = problem(cell, features=1)
    got, want = (run_back(cell, *point, driver=d, lengths=LENGTHS) for d in (driver, "scan"))
    assert_close(got, want, 1e-9)


@pytest.mark.parametrize("cell", [IndRNNCell(H), MinGRUCell(H)])
def test_a_diagonal_jacobian_gives_the_iterations_of_the_full_one(cell, float64):
    params, xs, *_ = problem(cell)
    full, diagonal = (
        unroll_newton(cell, params, xs, jacobian=jacobian)[2] for jacobian in ("full", "diagonal")
    )
    assert cell.diagonal_jacobian
    assert int(diagonal.iterations) == int(full.iterations) < len(xs)
    assert_close(diagonal.states, full.states, 1e-12)


def test_a_complex_state_in_two_fields_has_no_diagonal_jacobian():
    assert not LRUCell(H).diagonal_jacobian


def test_quasi_newton_takes_more_iterations_and_is_exact_after_t_of_them(float64):
    cell, params, xs = random_net(0.9, 40, np.float64)
    full, diagonal = (
        unroll_newton(cell, params, xs, jacobian=jacobian)[2] for jacobian in ("full", "diagonal")
    )
    assert full.converged and diagonal.converged
    assert int(full.iterations) < int(diagonal.iterations) <= 41


def test_damping_converges_where_the_full_iteration_overflows():
    cell, params, xs = random_net(1.0, 1000)
    assert not unroll_newton(cell, params, xs)[2].converged
    _, ys, report = unroll_newton(cell, params, xs, damping=0.1)
    assert report.converged
    assert_close(ys, unroll(cell, params, xs, driver="scan")[1], 1e-4)


@pytest.mark.parametrize("options", [{"jacobian": "diagonal"}, {"damping": 0.3}])
def test_an_approximate_iteration_rejects_a_chaotic_net(options):
    cell, params, xs = random_net(2.5, 100)
    _, ys, report = unroll_newton(cell, params, xs, **options)
    assert not report.converged
    assert np.isnan(ys[1:]).all()


def test_a_warm_start_takes_fewer_iterations(float64):
    cell = LSTMCell(H)
    params, xs, carry, _ = problem(cell)
    cold = unroll_newton(cell, params, xs, carry)[2]
    near = jax.tree.map(lambda leaf: leaf + 1e-6, params)
    *_, again = unroll_newton(cell, near, xs, carry, guess=cold.states)
    assert int(again.iterations) <= 3 < int(cold.iterations)
    want = unroll_newton(cell, near, xs, carry)[2]
    assert_close(again.states, want.states, 1e-12)


def test_a_guess_of_another_shape_is_one_sentence():
    cell = LSTMCell(H)
    params, xs, carry, _ = problem(cell, dtype=np.float32)
    with pytest.raises(InputError, match="guess must be the carry after each step, LSTMCarry of"):
        unroll_newton(cell, params, xs, carry, guess=carry)


def test_the_residuals_of_all_iterations_are_reported(float64):
    cell = LSTMCell(H)
    params, xs, carry, _ = problem(cell)
    *_, report = unroll_newton(cell, params, xs, carry, max_iterations=30)
    count = int(report.iterations)
    residuals = np.asarray(report.residuals)
    assert residuals.shape == (30,) and np.isnan(residuals[count:]).all()
    assert (np.diff(residuals[:count]) < 0).all()
    assert residuals[count - 1] == report.residual


@pytest.mark.parametrize("steps", [None, 100])
@pytest.mark.parametrize("gain, converges", [(0.5, True), (1.0, True), (1.1, True), (2.5, False)])
def test_the_forecast_agrees_with_the_iteration(gain, converges, steps):
    cell, params, xs = random_net(gain, 400)
    forecast = newton_forecast(cell, params, xs, steps=steps)
    report = unroll_newton(cell, params, xs, damping=0.3)[2]
    assert bool(forecast.converges) == bool(report.converged) == converges
    assert bool(forecast.exponent < 0) == converges


def test_the_amplification_of_a_linear_recurrence_is_its_geometric_sum(float64):
    cell = RNNCell(1, activation=lambda x: x)
    params = cell.init(jax.random.key(0), 1)
    params = params._replace(w_x=jnp.zeros((1, 1)), w_h=jnp.full((1, 1), 0.5))
    params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
    steps = 30
    signs = jax.random.rademacher(jax.random.key(0), (steps, 1, 1), jnp.float64)
    errors, error = [], 0.0
    for sign in np.asarray(signs).ravel():
        error = 0.5 * error + sign
        errors.append(abs(error))
    forecast = newton_forecast(cell, params, jnp.zeros((steps, 1, 1)))
    np.testing.assert_allclose(forecast.amplification, max(errors), rtol=1e-12)
    np.testing.assert_allclose(forecast.exponent, np.log(0.5), rtol=1e-6)
