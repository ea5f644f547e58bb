"""Lyapunov exponents, compared with closed forms and a QR of every explicit Jacobian."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, H, LinearRNNCell, flowing_cell
from explicit import jacobians
from jax.sharding import PartitionSpec

from rnn_jax import (
    Cell,
    DeltaNetCell,
    GatedCell,
    GRUCell,
    HiddenCarry,
    InputError,
    LSTMCell,
    RNNCell,
)
from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.cells.base import GatedParams
from rnn_jax.testing.oracle import B, D, problem
from rnn_jax.training.devices.sharding import data_mesh

options = ("count", "burn_in", "qr_every")
spectrum_of = jax.jit(lyapunov_spectrum, static_argnums=0, static_argnames=options)
STEPS = 60


@dataclasses.dataclass(frozen=True)
class StepOnly(Cell):
    """A cell with a step only, not gated."""

    inner: Cell

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        return self.inner.initial_carry(batch_shape, dtype)

    def step(self, params, carry, x):
        return self.inner.step(params, carry, x)


class CenteredCell(GatedCell):
    """A recurrence whose update is not elementwise: h' = tanh(a - mean a)."""

    gates = ("h",)
    elementwise_update = False

    def update(self, params, carry, x_gates, h_gates):
        total = x_gates + h_gates
        return HiddenCarry(h=jnp.tanh(total - total.mean(-1, keepdims=True)) + 0.1 * carry.h)


def linear(matrix, dtype=jnp.float64):
    size = len(matrix)
    zeros = jnp.zeros((1, size), dtype)
    return LinearRNNCell(size), GatedParams(zeros, jnp.asarray(matrix, dtype), zeros[0])


def orthogonal(size):
    return np.linalg.qr(np.random.default_rng(1).normal(size=(size, size)))[0]


def dense_spectrum(matrices, start):
    """Exponents [B, K] by a QR of each step's Jacobian [T, B, n, n] from `start` [n, K]."""
    columns, total = np.broadcast_to(start, (matrices.shape[1], *start.shape)), 0
    for matrix in matrices:
        columns, r = np.linalg.qr(matrix @ columns)
        with np.errstate(divide="ignore"):
            total = total + np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
    return -np.sort(-total / len(matrices), axis=-1)


def start_of(size, count=None):
    return np.linalg.qr(np.random.default_rng(0).normal(size=(size, count or size)))[0]


def lively(cell, seed=0):
    """A problem without inactive relu units, whose exponents would be -inf."""
    p = problem(cell, steps=STEPS, seed=seed)
    return jax.tree.map(jnp.abs, p) if cell == CELLS["rnn_relu"].cell else p


@flowing_cell
def test_the_spectrum_is_that_of_a_qr_of_every_jacobian(cell, float64):
    p = lively(cell)
    matrices = jacobians(cell, p.params, p.xs, p.carry)
    want = dense_spectrum(matrices, start_of(matrices.shape[-1]))
    got = spectrum_of(cell, p.params, p.xs, p.carry)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@flowing_cell
def test_exponents_sum_to_the_mean_log_determinant(cell, float64):
    p = lively(cell, seed=1)
    _, volume = np.linalg.slogdet(jacobians(cell, p.params, p.xs, p.carry))
    got = np.sum(spectrum_of(cell, p.params, p.xs, p.carry), axis=-1)
    np.testing.assert_allclose(got, np.mean(volume, axis=0), rtol=1e-9)


def test_inactive_units_do_not_change_other_exponents(float64):
    matrix = np.diag([-1.0, 0.5, 0.9, -1.0])
    params = linear(matrix)[1]._replace(b=jnp.array([-1.0, 1, 1, -1]))
    got = spectrum_of(RNNCell(4, activation="relu"), params, jnp.zeros((200, 1)), burn_in=100)
    np.testing.assert_allclose(got[:2], np.log([0.9, 0.5]), atol=1e-12)
    assert np.all(got[2:] < -6)


@pytest.mark.parametrize("gain", [0.01, 1.0, 3.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_scaled_orthogonal_linear_rnn_has_the_log_of_its_gain(gain, dtype, float64):
    cell, params = linear(gain * orthogonal(40), dtype)
    got = spectrum_of(cell, params, jnp.zeros((500, 2, 1), dtype))
    assert got.dtype == dtype
    rounding = 500 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, np.log(gain), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("count", [None, 2, 1])
def test_a_linear_rnn_has_the_log_of_its_eigenvalues(count, float64):
    eigenvalues = np.array([0.3, -1.2, 0.9, 0.01, 0.5, 0.7, 1.0, -0.2])
    turn = orthogonal(8)
    for matrix in (np.diag(eigenvalues), turn @ np.diag(eigenvalues) @ turn.T):
        cell, params = linear(matrix)
        xs = jnp.zeros((600, 1))
        got = spectrum_of(cell, params, xs, count=count, burn_in=400)
        want = np.sort(np.log(np.abs(eigenvalues)))[::-1][:count]
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_a_cell_without_gates_has_the_same_spectrum(float64):
    for cell in (LSTMCell(H), CELLS["leaky"].cell):
        p = problem(cell, steps=STEPS)
        got = spectrum_of(StepOnly(H, cell), p.params, p.xs, p.carry)
        want = spectrum_of(cell, p.params, p.xs, p.carry)
        np.testing.assert_allclose(got, want, atol=1e-9)


def test_the_update_of_a_cell_may_mix_units(float64):
    cell = CenteredCell(4)
    p = problem(cell, steps=STEPS)
    matrices = jacobians(cell, p.params, p.xs, p.carry)
    want = dense_spectrum(matrices, start_of(4))
    np.testing.assert_allclose(spectrum_of(cell, p.params, p.xs, p.carry), want, atol=1e-9)


@pytest.mark.parametrize("count", [5, 33, None])
def test_fewer_orthonormalizations_change_only_rounding(count, float64):
    cell = GRUCell(70)
    p = problem(cell, steps=30, batch=(2,))
    params = p.params._replace(w_h=p.params.w_h / 4)
    each, some = (spectrum_of(cell, params, p.xs, count=count, qr_every=every) for every in (1, 8))
    np.testing.assert_allclose(some, each, atol=1e-9)
    matrices = jacobians(cell, params, p.xs, cell.initial_carry((2,), jnp.float64))
    want = dense_spectrum(matrices, start_of(70, count))
    np.testing.assert_allclose(some, want, atol=1e-9)


def test_float32_exponents_are_close_to_float64(float64):
    cell = GRUCell(40)
    params = cell.init(jax.random.key(0), D)
    xs = jax.random.normal(jax.random.key(1), (100, 2, D), jnp.float32)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, xs))
    matrices = jacobians(cell, *wide, cell.initial_carry((2,), jnp.float64))
    want = dense_spectrum(matrices, start_of(40))
    errors = np.abs(spectrum_of(cell, params, xs) / want - 1)
    assert np.quantile(errors, 0.9) < 1e-4
    assert errors.max() < 5e-3


def test_burn_in_steps_are_run_but_not_averaged(float64):
    cell = GRUCell(H)
    p = problem(cell, steps=STEPS)
    matrices = jacobians(cell, p.params, p.xs, p.carry)
    columns = start_of(H)
    for matrix in matrices[:20, 0]:
        columns, _ = np.linalg.qr(matrix @ columns)
    want = dense_spectrum(matrices[20:, :1], columns)
    got = spectrum_of(cell, p.params, p.xs, p.carry, burn_in=20)
    np.testing.assert_allclose(got[:1], want, atol=1e-9)


@pytest.mark.parametrize("batch", [(), (2, 2)])
def test_any_number_of_batch_dimensions(batch, float64):
    cell = LSTMCell(H)
    p = problem(cell, steps=5, batch=batch)
    got = spectrum_of(cell, p.params, p.xs, p.carry, count=2)
    flat = jax.tree.map(lambda c: c.reshape(-1, H), p.carry)
    want = spectrum_of(cell, p.params, p.xs.reshape(5, -1, D), flat, count=2)
    np.testing.assert_allclose(got, want.reshape(*batch, 2), atol=1e-12)


def test_vmap_over_seeds_equals_a_loop(float64):
    cell = LSTMCell(H)
    problems = [problem(cell, steps=20, seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[p.params for p in problems])
    xs = problems[0].xs
    got = jax.jit(jax.vmap(lambda params: lyapunov_spectrum(cell, params, xs)))(stacked)
    for i, p in enumerate(problems):
        np.testing.assert_allclose(got[i], spectrum_of(cell, p.params, xs), atol=1e-9)


def test_two_devices_share_a_batch():
    cell = GRUCell(H)
    p = problem(cell, steps=STEPS, dtype=jnp.float32)
    halves = jax.shard_map(
        partial(lyapunov_spectrum, cell),
        mesh=data_mesh(B),
        in_specs=(PartitionSpec(), PartitionSpec(None, "data")),
        out_specs=PartitionSpec("data"),
        check_vma=False,
    )
    got = jax.jit(halves)(p.params, p.xs)
    np.testing.assert_allclose(got, spectrum_of(cell, p.params, p.xs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"count": 7}, "count must be an integer, 1 to 6, got 7"),
        ({"count": 0}, "count must be an integer, 1 to 6, got 0"),
        ({"burn_in": 5}, "burn_in must be an integer, 0 to 4, got 5"),
        ({"qr_every": 0}, "qr_every must be an integer, at least 1, got 0"),
    ],
)
def test_an_option_out_of_range_is_an_input_error(wrong, message):
    cell = LSTMCell(H)
    p = problem(cell, steps=5, dtype=jnp.float32)
    with pytest.raises(InputError, match=message):
        lyapunov_spectrum(cell, p.params, p.xs, **wrong)


def test_few_exponents_of_a_large_carry_need_no_square_matrix():
    cell = DeltaNetCell(256, heads=1)  # n = 65,792: a square matrix would take 35 GB.
    params = cell.init(jax.random.key(0), 2)
    exponents = lyapunov_spectrum(cell, params, jnp.ones((3, 1, 2)), count=2)
    assert exponents.shape == (1, 2) and np.isfinite(exponents).all()
