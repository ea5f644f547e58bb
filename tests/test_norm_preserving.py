"""The norm-preserving regularizer: its value and its immediate gradient, for every cell."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, LinearRNNCell, every_cell, telling_cell

from rnn_jax import InputError, LSTMCell, RNNCell, unroll
from rnn_jax.analysis.norm_preserving import norm_preserving_regularizer
from rnn_jax.cells.base import GatedParams
from rnn_jax.testing.oracle import inner, problem


def loss_of(cotangents):
    """A linear loss: its gradients by the final carry and the outputs are `cotangents`."""

    def loss(*results):
        pairs = zip(jax.tree.leaves(results), jax.tree.leaves(cotangents), strict=True)
        return sum((a * b).sum() for a, b in pairs)

    return loss


def along(f, params, direction, step=1e-6):
    """The derivative of f(params) in a direction, by central differences."""
    ends = [
        f(jax.tree.map(lambda w, d, s=sign: w + s * step * d, params, direction))
        for sign in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * step)


def assert_is_omega(cell, p, adjoints, carries):
    """Compare value and gradient with a loop over steps that holds adjoints and carries."""

    @jax.jit
    def pulled(params, carry, x, adjoint):
        return jax.vjp(lambda c: cell.step(params, c, x)[0], carry)[1](adjoint)[0]

    def penalty(params):
        pairs = zip(carries, p.xs, adjoints, strict=True)
        ratios = [norm(pulled(params, c, x, a)) / norm(a) for c, x, a in pairs if norm(a)]
        return np.sum((np.array(ratios) - 1) ** 2)

    def omega(params):
        return norm_preserving_regularizer(loss_of(p.cotangents), cell, params, p.xs, p.carry)

    value, grads = jax.device_get(jax.jit(jax.value_and_grad(omega))(p.params))
    np.testing.assert_allclose(value, penalty(p.params), rtol=1e-9)
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), p.params)
    got, want = inner(grads, direction), along(penalty, p.params, direction)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-8)


def norm(carry):
    return np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(carry)))


def check_of_a_final_carry(cell):
    p = problem(cell, steps=4, batch=())
    d_carry, d_ys = p.cotangents
    p = p._replace(cotangents=(d_carry, 0 * d_ys))
    step = jax.jit(lambda carry, x: cell.step(p.params, carry, x)[0])
    pull = jax.jit(lambda carry, x, adjoint: jax.vjp(step, carry, x)[1](adjoint)[0])
    carries, adjoints = [p.carry], [d_carry]
    for x in p.xs[:-1]:
        carries.append(step(carries[-1], x))
    for carry, x in zip(carries[:0:-1], p.xs[:0:-1], strict=True):
        adjoints.insert(0, pull(carry, x, adjoints[0]))
    assert_is_omega(cell, p, adjoints, carries)


@telling_cell
def test_the_gradient_holds_all_but_the_jacobian_constant(cell, float64):
    check_of_a_final_carry(cell)


@every_cell
def test_the_gradient_is_immediate_for_every_cell(cell, float64):
    check_of_a_final_carry(cell)


@pytest.mark.parametrize("cell", [LSTMCell(3), CELLS["leaky"].cell])
def test_a_loss_of_all_outputs_counts_at_every_step(cell, float64):
    p = problem(cell, steps=4, batch=())

    def parts(carry, t):
        """The loss of the steps after t, and of the output of carry_t itself."""
        y = cell.readout(p.params, carry) if hasattr(cell, "readout") else carry.h
        final, ys = unroll(cell, p.params, p.xs[t:], carry, driver="scan")
        own = (y * p.cotangents[1][t - 1]).sum()
        return own + loss_of((p.cotangents[0], p.cotangents[1][t:]))(final, ys)

    carries = [p.carry]
    for x in p.xs:
        carries.append(cell.step(p.params, carries[-1], x)[0])
    adjoints = [jax.grad(parts)(carry, t) for t, carry in enumerate(carries) if t]
    assert_is_omega(cell, p, adjoints, carries[:-1])


def final_sum(carry, ys):
    return carry.h.sum()


def test_a_scalar_linear_net_has_the_penalty_of_its_weight(float64):
    cell, w, steps = LinearRNNCell(1), 0.7, 9

    def omega(w):
        params = GatedParams(jnp.ones((1, 1)), jnp.reshape(w, (1, 1)), jnp.zeros(1))
        return norm_preserving_regularizer(final_sum, cell, params, jnp.ones((steps, 2, 1))).sum()

    value, gradient = jax.value_and_grad(omega)(w)
    np.testing.assert_allclose(value, 2 * steps * (w - 1) ** 2)
    np.testing.assert_allclose(gradient, 4 * steps * (w - 1))


def test_an_error_far_below_the_range_of_floats_still_counts():
    cell, steps = LinearRNNCell(1), 3000
    params = GatedParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5), jnp.zeros(1))
    got = norm_preserving_regularizer(final_sum, cell, params, jnp.ones((steps, 1)))
    np.testing.assert_allclose(got, steps / 4, rtol=1e-6)


def test_steps_without_an_error_add_nothing_and_give_finite_gradients():
    cell = RNNCell(3, activation="relu")
    p = problem(cell, steps=6, dtype=jnp.float32)

    @partial(jax.jit, static_argnums=1)
    def omega(params, steps):
        loss = lambda carry, ys: ys[:3].sum()  # noqa: E731
        return norm_preserving_regularizer(loss, cell, params, p.xs[:steps]).sum()

    np.testing.assert_allclose(omega(p.params, 6), omega(p.params, 3), rtol=1e-6)
    dead = p.params._replace(b=jnp.full(3, -1e3))
    gradient = jax.jit(jax.grad(lambda params: omega(params, 6)))
    for params in (p.params, dead):
        assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradient(params)))
    np.testing.assert_allclose(omega(dead, 3), 3 * p.xs.shape[1])


def test_descent_on_the_penalty_alone_preserves_the_norm():
    cell = RNNCell(8)
    p = problem(cell, steps=20, dtype=jnp.float32)
    omega = jax.jit(
        jax.value_and_grad(
            lambda params: norm_preserving_regularizer(final_sum, cell, params, 0.1 * p.xs).mean()
        )
    )
    params, first = p.params, omega(p.params)[0]
    for _ in range(200):
        _, grads = omega(params)
        params = jax.tree.map(lambda w, g: w - 0.02 * g, params, grads)
    assert omega(params)[0] < 0.05 * first


@pytest.mark.usefixtures("unchecked")
def test_a_loss_that_is_no_number_is_one_sentence():
    cell = RNNCell(3)
    p = problem(cell, dtype=jnp.float32)
    with pytest.raises(InputError, match="loss must return one floating-point number"):
        norm_preserving_regularizer(lambda carry, ys: ys, cell, p.params, p.xs)
