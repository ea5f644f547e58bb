"""Orthonormal rows, compared with NumPy's QR."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.analysis.gram_schmidt import nearly_orthonormal, orthonormal


def graded(spread, count=40, size=50):
    """Rows [2, K, n], each plus a part of all rows before it, `spread` nats apart."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(2, size, size)))[0][:, :count]
    mixed = np.tril(rng.normal(size=(2, count, count)), -1) / count**0.5 + np.eye(count)
    return mixed * np.exp(-np.linspace(0, spread, count)) @ basis


@pytest.mark.parametrize("spread", [0, 8, 20])
@pytest.mark.parametrize("count", [1, 17, 40])
def test_the_basis_and_the_triangle_are_those_of_qr(count, spread, float64):
    rows = graded(spread, count)
    basis, logs = jax.jit(orthonormal)(jnp.asarray(rows))
    q, r = np.linalg.qr(np.swapaxes(rows, 1, 2))
    signs = np.sign(np.diagonal(r, axis1=1, axis2=2))
    rounding = 1e-13 * np.exp(spread)
    np.testing.assert_allclose(basis, np.swapaxes(q * signs[:, None], 1, 2), atol=rounding)
    want = np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
    np.testing.assert_allclose(logs, want, atol=rounding)
    gram = basis @ basis.mT
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(count), gram.shape), atol=1e-12)


@pytest.mark.parametrize("spread", [0, 8, 16, 24])
def test_a_well_conditioned_basis_has_an_exact_triangle(spread, float64):
    rows = graded(spread)
    basis, logs = (np.array(a) for a in jax.jit(nearly_orthonormal)(jnp.asarray(rows)))
    assert np.max(np.linalg.cond(basis)) < 100
    triangle = rows @ np.linalg.pinv(basis)
    above = np.max(np.abs(np.triu(triangle, 1)), axis=(1, 2))
    assert np.all(above < 1e-12 * np.max(np.abs(triangle), axis=(1, 2)))
    diagonal = np.log(np.diagonal(triangle, axis1=1, axis2=2))
    np.testing.assert_allclose(logs, diagonal, atol=1e-13 * np.exp(spread))


def test_rows_that_are_zero_or_parallel_stay_finite():
    rows = jnp.ones((1, 20, 30)).at[:, 5:].set(0)
    for function in (nearly_orthonormal, orthonormal):
        basis, logs = jax.jit(function)(rows)
        assert np.all(np.isfinite(basis))
        assert np.all(logs[:, 1:] < -7)
        np.testing.assert_allclose(logs[:, 0], 0.5 * np.log(30), rtol=1e-5)
