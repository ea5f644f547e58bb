"""Gradients of Lyapunov exponents, covariant vectors, and the Kaplan-Yorke dimension."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import LinearRNNCell

from rnn_jax import GRUCell, InputError, LSTMCell, RNNCell
from rnn_jax.analysis.covariant_vectors import covariant_vectors
from rnn_jax.analysis.dimension import kaplan_yorke_dimension
from rnn_jax.analysis.lyapunov import lyapunov_spectrum


def random_run(cell, steps=40, gain=1.5, batch=(2,)):
    """Parameters and inputs in float64; the recurrent matrix scaled by `gain`."""
    params = jax.tree.map(lambda p: p.astype(jnp.float64), cell.init(jax.random.key(0), 2))
    xs = jax.random.normal(jax.random.key(1), (steps, *batch, 2), jnp.float64)
    return params._replace(w_h=gain * params.w_h), xs


@pytest.mark.parametrize("cell", [RNNCell(4), LSTMCell(3)])
def test_the_differentiable_spectrum_has_the_same_values(cell, float64):
    params, xs = random_run(cell, steps=43)
    for options in ({"qr_every": 2}, {"count": 2, "burn_in": 10, "qr_every": 4}):
        want = lyapunov_spectrum(cell, params, xs, **options)
        got = lyapunov_spectrum(cell, params, xs, differentiable=True, **options)
        np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("cell", [RNNCell(4), LSTMCell(3), GRUCell(3)])
def test_the_gradient_of_exponents_equals_finite_differences(cell, float64):
    params, xs = random_run(cell, steps=15)

    @jax.jit
    def loss(params):
        spectrum = lyapunov_spectrum(
            cell, params, xs, count=2, burn_in=3, qr_every=2, differentiable=True
        )
        return (spectrum**2).sum()

    grads = jax.grad(loss)(params)
    direction = jax.tree.map(lambda p: jax.random.normal(jax.random.key(2), p.shape), params)
    step = 1e-6
    ends = [
        loss(jax.tree.map(lambda p, d, s=sign: p + s * step * d, params, direction))
        for sign in (1, -1)
    ]
    along = jax.tree.map(lambda g, d: (g * d).sum(), grads, direction)
    got = sum(jax.tree.leaves(along))
    np.testing.assert_allclose(got, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


def test_covariant_vectors_of_a_linear_net_are_its_eigenvectors(float64):
    random = np.random.default_rng(0)
    basis, values = random.normal(size=(4, 4)), np.array([1.1, 0.8, -0.5, 0.2])
    w_h = np.linalg.inv(basis) @ np.diag(values) @ basis
    cell = LinearRNNCell(4)
    params, xs = random_run(cell, steps=300, batch=())
    params = params._replace(w_h=jnp.asarray(w_h))
    found = covariant_vectors(cell, params, 0 * xs, burn_in=100)
    assert found.vectors.shape == (100, 4, 4)
    rows = basis / np.linalg.norm(basis, axis=1, keepdims=True)
    cosines = np.abs(np.einsum("tkn,kn->tk", found.vectors, rows))
    np.testing.assert_allclose(cosines, 1, atol=1e-8)
    np.testing.assert_allclose(found.exponents, np.log(np.abs(values)), atol=1e-8)


@pytest.mark.parametrize("cell", [GRUCell(3), LSTMCell(2)])
def test_a_step_maps_covariant_vectors_to_those_of_the_next_step(cell, float64):
    params, xs = random_run(cell, steps=120, batch=(), gain=2.0)
    burn_in, count = 40, 3
    found = covariant_vectors(cell, params, xs, count=count, burn_in=burn_in)
    carry = cell.initial_carry((), jnp.float64)
    for x in xs[: burn_in + 1]:
        carry, _ = cell.step(params, carry, x)
    fields, structure = jax.tree.flatten(carry)
    ends = np.cumsum([field.shape[-1] for field in fields])[:-1]
    for row, after in zip(found.vectors[0], found.vectors[1], strict=True):
        change = structure.unflatten(jnp.split(row, ends))
        step = lambda c: cell.step(params, c, xs[burn_in + 1])[0]  # noqa: E731
        moved = jnp.concatenate(jax.jvp(step, (carry,), (change,))[1])
        cosine = abs(moved @ after) / jnp.linalg.norm(moved)
        np.testing.assert_allclose(cosine, 1, atol=1e-8)
    assert found.angles().shape == (40, count, count)
    assert (np.diff(found.exponents) < 0).all()


def test_the_kaplan_yorke_dimension_interpolates_between_exponents():
    lorenz = [0.906, 0.0, -14.572]
    np.testing.assert_allclose(kaplan_yorke_dimension(lorenz), 2 + 0.906 / 14.572)
    several = np.array([[-0.1, -0.2, -0.3], [0.1, -0.3, -0.05], [1.0, 0.5, -0.1], lorenz])
    want = [0, 2 + (0.1 - 0.05) / 0.3, 3, 2 + 0.906 / 14.572]
    np.testing.assert_allclose(kaplan_yorke_dimension(several), want)


@pytest.mark.usefixtures("unchecked")
def test_a_batch_or_a_burn_in_that_does_not_fit_is_one_sentence():
    cell = RNNCell(3)
    params = cell.init(jax.random.key(0), 2)
    with pytest.raises(InputError, match=r"needs one sequence xs \[T, D\], got \(9, 1, 2\)"):
        covariant_vectors(cell, params, jnp.zeros((9, 1, 2)))
    with pytest.raises(InputError, match="burn_in must be an integer, 0 to 4, got 5"):
        covariant_vectors(cell, params, jnp.zeros((9, 2)), burn_in=5)
    with pytest.raises(InputError, match="count must be an integer, 1 to 3, got 4"):
        covariant_vectors(cell, params, jnp.zeros((9, 2)), burn_in=1, count=4)
