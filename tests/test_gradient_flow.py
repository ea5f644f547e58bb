"""Norms of gradients at each step, compared with closed forms and reverse mode."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, LinearRNNCell, flowing_cell

from rnn_jax import GRUCell, InputError, LSTMCell, ResetBeforeGRUCell
from rnn_jax.analysis.gradient_flow import (
    adjoint_norms,
    log10_mean,
    loss_adjoint_norms,
)
from rnn_jax.cells.base import GatedParams
from rnn_jax.initializers import Gain, Identity, Orthogonal
from rnn_jax.testing.oracle import B, D, T, assert_close, problem, run_back

norms_of = jax.jit(adjoint_norms, static_argnums=0)
SCALAR = LinearRNNCell(1)


def scalar_params(w, dtype=jnp.float64):
    return GatedParams(*(jnp.asarray(v, dtype) for v in ([[1.0]], [[w]], [0.0])))


def log10_norm(x):
    with np.errstate(divide="ignore"):
        return np.log10(np.linalg.norm(x, axis=-1))


def read(cell, params, carry):
    return cell.readout(params, carry) if hasattr(cell, "readout") else carry.h


@pytest.mark.parametrize("w", [0.9, 1.1])
def test_a_scalar_linear_rnn_has_the_gradient_w_to_the_number_of_steps(w, float64):
    steps = 1000
    xs = jnp.ones((steps, 1))
    norms = norms_of(SCALAR, scalar_params(w), xs, d_carry=SCALAR.initial_carry((), jnp.float64))
    assert np.all(np.isneginf(norms.carry.h))
    one = jax.tree.map(jnp.ones_like, SCALAR.initial_carry((), jnp.float64))
    norms = norms_of(SCALAR, scalar_params(w), xs, d_carry=one)
    want = np.arange(steps, -1, -1) * np.log10(w)
    np.testing.assert_allclose(norms.carry.h, want, rtol=0, atol=1e-12)
    np.testing.assert_allclose(norms.xs, want[1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("decades", [-700, 300, 700])
def test_16384_steps_in_float32_neither_underflow_nor_overflow(decades):
    steps = 16384
    params = scalar_params(10 ** (decades / steps), jnp.float32)
    xs, d_ys = jnp.zeros((steps, 2, 1)), jnp.zeros((steps, 2, 1)).at[-1].set(1)
    norms = norms_of(SCALAR, params, xs, d_ys)
    w = np.float64(params.w_h[0, 0])
    want = np.arange(steps, -1, -1)[:, None] * np.log10([w, w])
    want[-1] = 0
    np.testing.assert_allclose(norms.carry.h, want, atol=2e-3)
    assert abs(norms.carry.h[0, 0] - decades) < 0.5


def test_an_orthogonal_linear_rnn_keeps_the_norm(float64):
    cell = LinearRNNCell(16)
    p = problem(cell, steps=200)
    params = Orthogonal().adjust(cell, p.params, jax.random.key(0))
    exact = jnp.linalg.qr(params.w_h)[0]
    norms = norms_of(cell, params._replace(w_h=exact), p.xs, d_carry=p.cotangents[0])
    want = np.broadcast_to(log10_norm(p.cotangents[0].h), (201, B))
    np.testing.assert_allclose(norms.carry.h, want, atol=1e-12)


@pytest.mark.parametrize("gain", [0.9, 1.0, 1.1])
def test_a_scaled_identity_multiplies_the_norm_by_the_gain_each_step(gain, float64):
    cell = LinearRNNCell(5)
    p = problem(cell, steps=50)
    params = Gain(gain).adjust(cell, Identity().adjust(cell, p.params))
    norms = norms_of(cell, params, p.xs, d_carry=p.cotangents[0])
    slopes = np.diff(norms.carry.h, axis=0)
    np.testing.assert_allclose(slopes, -np.log10(gain), atol=1e-12)


@flowing_cell
def test_norms_are_those_of_the_gradient_by_a_change_of_each_carry(cell, float64):
    p = problem(cell)
    d_carry, d_ys = p.cotangents

    def moved_loss(changes, xs):
        def step(carry, inputs):
            x, change = inputs
            carry = jax.tree.map(jnp.add, cell.step(p.params, carry, x)[0], change)
            return carry, read(cell, p.params, carry)

        first, rest = (jax.tree.map(lambda c, s=s: c[s], changes) for s in (0, slice(1, None)))
        final, ys = jax.lax.scan(step, jax.tree.map(jnp.add, p.carry, first), (xs, rest))
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, (d_carry, d_ys), (final, ys))))

    changes = jax.tree.map(lambda c: jnp.zeros((T + 1, *c.shape)), p.carry)
    by_carry, by_x = jax.jit(jax.grad(moved_loss, argnums=(0, 1)))(changes, p.xs)
    norms = norms_of(cell, p.params, p.xs, d_ys, d_carry, p.carry)
    assert_close(norms.carry, jax.tree.map(log10_norm, by_carry))
    assert_close(norms.xs, log10_norm(by_x))


def test_a_loss_may_use_the_final_carry_and_the_outputs(float64):
    cell = LSTMCell(3)
    p = problem(cell)

    def loss(carry, ys):
        return jnp.sum(carry.c**2) + jnp.mean(jnp.sin(ys))

    got = jax.jit(partial(loss_adjoint_norms, loss, cell))(p.params, p.xs, p.carry)

    def whole(carry, xs):
        final, ys = jax.lax.scan(partial(cell.step, p.params), carry, xs)
        return loss(final, ys)

    by_carry, by_x = jax.grad(whole, argnums=(0, 1))(p.carry, p.xs)
    assert_close(jax.tree.map(lambda n: n[0], got.carry), jax.tree.map(log10_norm, by_carry))
    assert_close(got.xs, log10_norm(by_x))


def test_a_new_gradient_outweighs_one_that_has_almost_vanished():
    steps, early = 4000, 10
    d_ys = jnp.zeros((steps, 1)).at[jnp.array([early - 1, steps - 1])].set(1)
    for w in (0.5, 2.0):
        norms = norms_of(SCALAR, scalar_params(w, jnp.float32), jnp.zeros((steps, 1)), d_ys)
        want = np.arange(steps, -1, -1) * np.log10(w)
        if w < 1:
            want[: early + 1] = np.arange(early, -1, -1) * np.log10(w)
        np.testing.assert_allclose(norms.carry.h, want, rtol=1e-6, atol=1e-6)


def test_a_large_gradient_of_h_does_not_hide_a_small_one_of_c():
    cell, steps, early, keep = LSTMCell(1), 500, 10, 0.1
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    params = params._replace(b=params.b.at[1].set(np.log(keep / (1 - keep))))
    d_carry = cell.initial_carry()._replace(c=jnp.ones(1))
    d_ys = jnp.zeros((steps, 1)).at[early - 1].set(1)
    norms = norms_of(cell, params, jnp.zeros((steps, 1)), d_ys, d_carry)
    distance = np.arange(steps, -1, -1)
    np.testing.assert_allclose(norms.carry.c[early:], -distance[early:], rtol=1e-5, atol=1e-6)
    behind = np.log10(0.5) - np.arange(early, 0, -1)
    np.testing.assert_allclose(norms.carry.c[:early], behind, rtol=1e-5)
    assert norms.carry.h[early] == 0
    assert np.all(np.isneginf(np.delete(norms.carry.h, early)))


def test_an_output_outside_the_carry_belongs_to_its_step(float64):
    class Doubled(ResetBeforeGRUCell):
        def step(self, params, carry, x):
            carry, y = super().step(params, carry, x)
            return carry, 2 * y

    cell = Doubled(3)
    p = problem(cell)
    d_ys = jnp.zeros_like(p.cotangents[1]).at[-1].set(1)
    got = norms_of(cell, p.params, p.xs, d_ys, carry=p.carry)
    same = norms_of(ResetBeforeGRUCell(3), p.params, p.xs, 2 * d_ys, carry=p.carry)
    assert np.all(np.isneginf(got.carry.h[-1]))
    assert_close(got.carry.h[:-1], same.carry.h[:-1])
    assert_close(got.xs, same.xs)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_vmap_over_seeds_equals_a_loop(dtype, float64):
    cell = GRUCell(3)
    problems = [problem(cell, dtype=dtype, seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[p.params for p in problems])
    p = problems[0]

    d_ys = p.cotangents[1]
    got = jax.jit(jax.vmap(lambda params: adjoint_norms(cell, params, p.xs, d_ys)))(stacked)
    assert got.carry.h.dtype == dtype
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-12
    for i, one in enumerate(problems):
        want = norms_of(cell, one.params, p.xs, d_ys)
        assert_close(jax.tree.map(lambda a, i=i: a[i], got), want, tolerance)


@pytest.mark.parametrize("batch", [(), (2, 2)])
def test_any_number_of_batch_dimensions(batch, float64):
    cell = CELLS["leaky"].cell
    p = problem(cell, batch=batch)
    d_carry, d_ys = p.cotangents
    norms = norms_of(cell, p.params, p.xs, d_ys, d_carry, p.carry)
    assert norms.carry.h.shape == (T + 1, *batch)
    assert norms.xs.shape == (T, *batch)
    _, (_, _, by_carry) = run_back(cell, p.params, p.xs, p.carry, p.cotangents, driver="scan")
    assert_close(norms.carry.h[0], log10_norm(by_carry.h))


def test_zero_steps_leave_the_gradient_of_the_final_carry(float64):
    cell = LSTMCell(3)
    p = problem(cell, steps=0)
    norms = norms_of(cell, p.params, p.xs, p.cotangents[1], p.cotangents[0])
    assert_close(norms.carry, jax.tree.map(lambda d: log10_norm(d)[None], p.cotangents[0]))
    assert norms.xs.shape == (0, B)


def test_a_mean_over_the_batch_is_the_mean_of_the_norms():
    norms = jnp.array([[-700.0, -700.0], [300.0, 300.0 + np.log10(3)], [0.0, -np.inf]])
    want = [-700.0, 300 + np.log10(2), -np.log10(2)]
    np.testing.assert_allclose(log10_mean(norms), want, rtol=1e-6)
    assert np.isneginf(log10_mean(jnp.full(3, -jnp.inf)))


def test_gradients_of_another_shape_are_an_input_error(unchecked):
    cell = GRUCell(3)
    p = problem(cell, dtype=jnp.float32)
    with pytest.raises(
        InputError, match=r"d_ys must have the shape of ys, \(7, 4, 3\), got \(7, 3"
    ):
        adjoint_norms(cell, p.params, p.xs, p.cotangents[1][:, :3])
    with pytest.raises(InputError, match=r"carry\.h must have shape"):
        adjoint_norms(cell, p.params, p.xs, d_carry=cell.initial_carry((B + 1,)))
    with pytest.raises(InputError, match="xs has 3 features"):
        adjoint_norms(cell, p.params, jnp.zeros((T, B, D + 1)))
