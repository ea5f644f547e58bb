"""Cells with a matrix state: what their memory holds, and runs and analyses of a wide carry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import (
    DeltaNetCell,
    GatedDeltaNetCell,
    InputError,
    MLSTMCell,
    dropout,
    layer_norm,
    unbiased,
    unroll,
    unroll_carries,
    zoneout,
)
from rnn_jax.analysis.fixed_points import find_fixed_points
from rnn_jax.analysis.gradient_flow import loss_adjoint_norms
from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.cells.delta_net import delta_rule
from rnn_jax.cells.matrix_state import MatrixCarry, MatrixParams, read
from rnn_jax.testing.oracle import B, assert_close, loop, problem, run, run_back

KEY = jax.random.key(0)


def orthonormal(size):
    return np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]


def test_values_stored_under_orthonormal_keys_are_retrieved_exactly(float64):
    keys, values = orthonormal(5), np.random.default_rng(1).normal(size=(2, 5, 3))
    memory, keys = jnp.zeros((5, 3)), list(jnp.asarray(keys))
    # The second value of each key replaces the first.
    for k, v in zip(keys + keys, jnp.concatenate(jnp.asarray(values)), strict=True):
        memory = delta_rule(memory, k, v, jnp.ones(()))
    assert_close(jnp.stack([read(memory, k) for k in keys]), values[1])


def with_gates(cell, vectors, scalars):
    """Parameters with which the inputs (1, x) give the gates as affine functions of x."""
    params = jax.tree.map(jnp.zeros_like, cell.init(KEY, 2))
    w_x = jnp.repeat(jnp.array(vectors).T, cell.hidden_size, axis=1)
    return params._replace(w_x=w_x, w_s=jnp.array(scalars).T)


@pytest.mark.parametrize("negative", [False, True])
def test_only_a_negative_eigenvalue_tracks_the_parity_of_bits(negative, float64):
    cell = DeltaNetCell(2, negative_eigenvalues=negative)
    # The query and the key are constant, the value is 0, and beta is 0 or its largest value.
    params = with_gates(cell, [(1.0, 0.0), (1.0, 0.0), (0.0, 0.0)], [(-40.0, 80.0)])
    bits = np.random.default_rng(0).integers(0, 2, (300, 4, 1))
    xs = jnp.asarray(np.concatenate([np.ones_like(bits), bits], -1), jnp.float64)
    carry = MatrixCarry(jnp.zeros((4, 2)), jnp.ones((4, 4)))
    _, ys = unroll(cell, params, xs, carry)
    parity = (-1.0) ** np.cumsum(bits, 0)
    held = parity if negative else np.cumprod(1 - bits, 0)
    np.testing.assert_allclose(ys, np.broadcast_to(held * np.sqrt(2), ys.shape), atol=1e-3)


def test_a_gated_deltanet_that_keeps_everything_is_a_deltanet(float64):
    cell = GatedDeltaNetCell(6, heads=2)
    params, xs, carry, _ = problem(cell)
    kept = params._replace(decay=jnp.full(2, -100.0))  # A rate of 0, so that alpha is 1.
    plain = MatrixParams(params.w_x, params.w_s[:, :2], params.b_s[:2])
    assert_close(run(cell, kept, xs, carry), run(DeltaNetCell(6, heads=2), plain, xs, carry))


def test_an_mlstm_stays_finite_where_its_exponentials_overflow():
    cell = MLSTMCell(4, heads=2)
    params, xs, carry, cotangents = problem(cell, dtype=jnp.float32)
    results = run_back(cell, params, 1e4 * xs, carry, cotangents)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))


CELLS = [DeltaNetCell(4, heads=2), MLSTMCell(2)]
wide = pytest.mark.parametrize("cell", CELLS, ids=["deltanet", "mlstm"])


@pytest.mark.parametrize("driver", ["newton", "parallel_backward"])
@wide
def test_drivers_parallel_in_time_agree_with_scan(cell, driver, float64):
    given = problem(cell, steps=4)
    assert_close(run_back(cell, *given, driver=driver), run_back(cell, *given, driver="scan"), 1e-9)


@wide
def test_carries_over_time_keep_their_fields_apart(cell, float64):
    params, xs, carry, _ = problem(cell)
    carries = unroll_carries(cell, params, xs, carry)
    for t in (0, 3):
        want, _ = loop(cell, params, xs[: t + 1], carry)
        assert_close(jax.tree.map(lambda field, t=t: field[t], carries), want)


@wide
def test_noise_of_zoneout_keeps_single_entries_of_a_matrix(cell, float64):
    params, xs, carry, _ = problem(cell, steps=1)
    new, _ = run(cell, params, xs, carry)
    noisy, _ = run(zoneout(cell, 0.5), params, xs, carry, key=KEY)
    for before, after, got in zip(carry, new, noisy, strict=True):
        kept, moved = (np.isclose(got, end, rtol=1e-12) for end in (before, after))
        assert (kept | moved).all()
    kept = np.isclose(noisy[1], carry[1], rtol=1e-12).reshape(B, -1)
    assert 0.2 < kept.mean() < 0.8


def test_the_exponents_of_a_deltanet_are_those_of_its_householder_steps(float64):
    cell = DeltaNetCell(2)
    params = with_gates(cell, [(1.0, 0.0), (1.0, 0.0), (0.0, 1.0)], [(0.0, 0.0)])
    xs = jnp.concatenate([jnp.ones((40, 1)), jax.random.normal(KEY, (40, 1))], -1)
    # Each column of S keeps what is orthogonal to the key and half of what is along it.
    exponents = lyapunov_spectrum(cell, params, xs, count=4, burn_in=10)
    np.testing.assert_allclose(exponents, [0, 0, -np.log(2), -np.log(2)], atol=1e-5)


def test_a_fixed_point_of_a_deltanet_holds_the_value_of_its_key(float64):
    cell = DeltaNetCell(2)
    params = with_gates(cell, [(1.0, 0.0), (1.0, 0.0), (0.0, 1.0)], [(0.0, 0.0)])
    start = jax.tree.map(lambda f: jax.random.normal(KEY, (3, *f.shape)), cell.initial_carry())
    points = find_fixed_points(cell, params, start, jnp.array([1.0, 0.7]))
    np.testing.assert_allclose(points.carry.h, 0.7, atol=1e-4)


@wide
def test_adjoint_norms_are_those_of_each_field(cell, float64):
    params, xs, carry, _ = problem(cell)

    def loss(last, ys):
        return jnp.sum(last[1] ** 2) + jnp.sum(ys**2)

    got = loss_adjoint_norms(loss, cell, params, xs, carry).carry
    d_carry = jax.grad(lambda carry: loss(*unroll(cell, params, xs, carry)))(carry)
    want = jax.tree.map(lambda d: np.linalg.norm(d, axis=-1), d_carry)
    assert_close(jax.tree.map(lambda norms: 10 ** norms[0], got), want, 1e-9)


CELL = DeltaNetCell(4)
MISTAKES = {
    "heads": (lambda: MLSTMCell(6, heads=4), "heads must divide hidden_size = 6, got 4"),
    "layer_norm": (lambda: layer_norm(CELL), "layer_norm needs 4 gates of H = 4 units"),
    "state": (lambda: dropout(CELL, state=0.1), "has no effect on DeltaNetCell, whose gates"),
    "unbiased": (lambda: unbiased(CELL), "needs params with b, but those of DeltaNetCell"),
    "fused": (lambda: _unroll("fused"), "needs a GatedCell with a recurrent product"),
    "associative": (lambda: _unroll("associative"), "needs a LinearCell, got DeltaNetCell"),
}


def _unroll(driver):
    return unroll(CELL, CELL.init(KEY, 2), jnp.zeros((3, 1, 2)), driver=driver)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("make, words", MISTAKES.values(), ids=MISTAKES)
def test_what_does_not_apply_is_one_sentence(make, words):
    with pytest.raises(InputError, match=words):
        make()
