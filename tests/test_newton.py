"""The newton driver gives the values of the scan driver or an error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H, LinearRNNCell

from rnn_jax import (
    ConvLSTMCell,
    GRUCell,
    InputError,
    LSTMCell,
    ResetBeforeGRUCell,
    RNNCell,
    RunError,
    SLSTMCell,
    UGRNNCell,
    unroll,
)
from rnn_jax.drivers.newton import unroll_newton
from rnn_jax.testing.oracle import B, assert_close, assert_same, problem, run, run_back

LENGTHS = np.array([0, 3, 7, 5], np.int32)


@pytest.mark.parametrize(
    "cell",
    [LSTMCell(2), GRUCell(2), ResetBeforeGRUCell(2), UGRNNCell(2)],
    ids=["lstm", "gru", "step", "ugrnn"],
)
def test_values_and_gradients_are_those_of_the_scan_driver(cell, float64):
    point = problem(cell, features=1)
    got, want = (run_back(cell, *point, driver=d, lengths=LENGTHS) for d in ("newton", "scan"))
    assert_close(got, want, 1e-10)


def test_a_large_carry_does_not_hide_an_error_in_a_small_one(float64):
    cell = SLSTMCell(2)
    params, xs, *_ = problem(cell, features=1)
    got, want = (run(cell, params, xs, driver=d, lengths=LENGTHS) for d in ("newton", "scan"))
    assert_close(got, want, 1e-10)


def test_a_linear_recurrence_takes_two_iterations(float64):
    cell = LinearRNNCell(H)
    params, xs, carry, _ = problem(cell)
    last, ys, report = unroll_newton(cell, params, xs, carry)
    assert int(report.iterations) == 2
    assert report.converged
    assert float(report.residual) < 1e-14
    assert float(report.error) < 1e-14
    assert_close((last, ys), run(cell, params, xs, carry), 1e-10)


def test_the_residual_is_the_error_of_each_step(float64):
    cell = LSTMCell(H)
    params, xs, carry, _ = problem(cell)
    rounds = [unroll_newton(cell, params, xs, carry, max_iterations=n)[2] for n in (1, 2, 100)]
    first, second, whole = (float(report.residual) for report in rounds)
    assert first > second > whole
    first, second, whole = (float(report.error) for report in rounds)
    assert first > second > whole
    assert [bool(report.converged) for report in rounds] == [False, False, True]
    assert 2 < int(rounds[2].iterations) <= 7


def test_values_that_did_not_converge_are_nan(float64):
    cell = LSTMCell(H)
    params, xs, carry, _ = problem(cell)
    last, ys, _ = unroll_newton(cell, params, xs, carry, max_iterations=1)
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves((last.c[:], ys[1:])))


def diverging():
    """A recurrence so steep that intermediate iterates overflow."""
    cell = RNNCell(2, activation="relu")
    params, xs, carry, _ = problem(cell, steps=200, features=1, dtype=jnp.float32)
    return cell, params._replace(w_h=5 * params.w_h), xs, carry


def test_no_convergence_is_an_error_outside_jit_and_nan_inside():
    cell, *given = diverging()
    with pytest.raises(RunError, match=r"did not converge: .* residual .* error .* driver='scan'"):
        unroll(cell, *given, driver="newton")
    last, ys = run(cell, *given, driver="newton")
    assert np.all(np.isnan(last.h))
    assert np.any(np.isnan(ys))


def chaotic(gain, steps):
    """An RNN that amplifies small changes, with a random recurrent matrix of this gain."""
    cell = RNNCell(64)
    params = cell.init(jax.random.key(0), 3)
    w_h = jax.random.normal(jax.random.key(1), (64, 64)) * gain / 8
    return cell, params._replace(w_h=w_h), 0.1 * jax.random.normal(jax.random.key(2), (steps, 1, 3))


def test_overflow_in_the_iteration_is_not_convergence():
    cell, *given = chaotic(1.5, 200)
    last, ys, report = unroll_newton(cell, *given)
    assert not report.converged
    assert np.isnan(report.error)
    assert np.isnan(ys[1:]).all() and np.isnan(last.h).all()
    with pytest.raises(RunError, match="did not converge"):
        unroll(cell, *given, driver="newton")


@pytest.mark.parametrize("after", [0, 30, 100])
def test_no_convergence_in_a_later_window_is_an_error(after):
    cell = RNNCell(1, activation="relu")
    params = cell.init(jax.random.key(0), 1)
    params = params._replace(w_x=jnp.ones((1, 1)), w_h=jnp.full((1, 1), 3.0))
    calm, growing = jnp.zeros((100, 1, 1)), jnp.ones((100, 1, 1))
    options = {"driver": "newton", "tbptt_steps": 100}
    unroll(cell, params, jnp.concatenate([calm, calm]), **options)
    with pytest.raises(RunError, match="did not converge"):
        unroll(cell, params, jnp.concatenate([calm, growing, calm[:after]]), **options)


@pytest.mark.parametrize("gain, steps", [(0.5, 200), (1.0, 100), (1.5, 30), (1.5, 100)])
def test_converged_states_are_those_of_exact_arithmetic(gain, steps, float64):
    cell, params, xs = chaotic(gain, steps)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, xs))
    _, ys, report = unroll_newton(cell, *narrow)
    _, exact = unroll(cell, *jax.tree.map(lambda x: x.astype(jnp.float64), narrow), driver="scan")
    assert bool(report.converged) == (gain <= 1 or steps < 100)
    if report.converged:
        np.testing.assert_allclose(ys, exact, atol=1e-4)


def test_no_steps_return_the_carry_given(float64):
    cell = LSTMCell(H)
    params, xs, carry, _ = problem(cell, steps=0)
    want = carry, jnp.zeros((0, B, H))
    assert_same(jax.device_get(unroll(cell, params, xs, carry, driver="newton")), want)
    last, ys, report = unroll_newton(cell, params, xs, carry)
    assert_same((last, ys), want)
    assert report.converged


@pytest.mark.usefixtures("unchecked")
def test_an_unsupported_cell_or_option_is_an_input_error():
    cell = ConvLSTMCell(1)
    params, xs, carry, _ = problem(cell, dtype=jnp.float32)
    with pytest.raises(InputError, match="needs a cell without spatial axes"):
        unroll(cell, params, xs, carry, driver="newton")
    params, xs, carry, _ = problem(LSTMCell(H), dtype=jnp.float32)
    with pytest.raises(InputError, match="max_iterations must be a positive integer, got 0"):
        unroll_newton(LSTMCell(H), params, xs, carry, max_iterations=0)
