"""Norms of parameter gradients by matrix and gate, compared with reverse mode."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import LinearRNNCell, telling_cell

from rnn_jax import GRUCell
from rnn_jax.analysis.gradient_flow import parameter_gradient_norms, parameter_norms
from rnn_jax.cells.base import GatedParams
from rnn_jax.testing.oracle import assert_close, problem, run_back

parameter_norms_of = jax.jit(parameter_gradient_norms, static_argnums=0)
SCALAR = LinearRNNCell(1)


def scalar_params(w, dtype=jnp.float64):
    return GatedParams(*(jnp.asarray(v, dtype) for v in ([[1.0]], [[w]], [0.0])))


@telling_cell
def test_parameter_norms_are_those_of_reverse_mode(cell, float64):
    p = problem(cell)
    d_carry, d_ys = p.cotangents
    _, (grads, _, _) = run_back(cell, p.params, p.xs, p.carry, p.cotangents, driver="scan")
    got = parameter_norms_of(cell, p.params, p.xs, d_ys, d_carry, p.carry)
    assert_close(got, dict(parameter_norms(cell, grads)))
    assert_close(got["w_h"], np.log10(np.linalg.norm(grads.w_h)))


def test_gates_share_the_squared_norm_of_a_matrix(float64):
    cell = GRUCell(3)
    grads = problem(cell).params
    norms = parameter_norms(cell, grads)
    assert set(norms) == {
        *("w_x", "w_x.r", "w_x.z", "w_x.n", "w_h", "w_h.r", "w_h.z", "w_h.n"),
        *("b", "b.r", "b.z", "b.n", "b_h"),
    }
    for name in ("w_x", "w_h", "b"):
        shares = [10 ** (2 * norms[f"{name}.{gate}"]) for gate in "rzn"]
        np.testing.assert_allclose(sum(shares), np.sum(np.square(getattr(grads, name))))
    np.testing.assert_allclose(10 ** norms["w_h.z"], np.linalg.norm(grads.w_h[:, 3:6]))


@pytest.mark.parametrize("decades", [-700, 300, 700])
def test_a_gradient_beyond_float32_is_summed_over_steps_and_batch(decades):
    steps = 16384
    params = scalar_params(10 ** (decades / steps), jnp.float32)
    xs, d_ys = jnp.zeros((steps, 2, 1)), jnp.zeros((steps, 2, 1)).at[-1].set(1)
    bias = parameter_norms_of(SCALAR, params, xs, d_ys)["b"]
    powers = np.arange(steps) * np.log10(np.float64(params.w_h[0, 0]))
    total = powers.max() + np.log10(np.sum(10 ** (powers - powers.max())))
    np.testing.assert_allclose(bias, np.log10(2) + total, atol=2e-3)


@pytest.mark.parametrize("seed, weight", [(0, 0.5), (1, 0.9)])
def test_white_noise_gives_the_moments_of_zucchet_and_orvieto(seed, weight, float64):
    examples, steps = 4000, 200
    xs = jax.random.normal(jax.random.key(seed), (examples, steps, 1), jnp.float64)
    params = scalar_params(weight)

    @jax.vmap
    def squares(xs):
        final, _ = jax.lax.scan(
            partial(SCALAR.step, params), SCALAR.initial_carry((), xs.dtype), xs
        )
        one = jax.tree.map(jnp.ones_like, final)
        slope = parameter_gradient_norms(SCALAR, params, xs, d_carry=one)["w_h"]
        return final.h[0] ** 2, 10 ** (2 * slope)

    memory = 1 - weight**2
    closed = 1 / memory, (1 + weight**2) / memory**3
    for sample, mean in zip(jax.jit(squares)(xs), closed, strict=True):
        error = np.std(sample) / examples**0.5
        assert error < 0.06 * mean
        assert abs(np.mean(sample) - mean) < 3 * error
