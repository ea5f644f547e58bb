"""What sets a cell apart: memories, noise, signs of weights, orthogonal matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import legendre

from rnn_jax import (
    CTRNNCell,
    GRUCell,
    IndRNNCell,
    InputError,
    LMUCell,
    LSTMCell,
    MinGRUCell,
    RNNCell,
    S5Cell,
    layer_norm,
    orthogonal_recurrence,
    unroll,
)


def test_the_memory_of_an_lmu_holds_the_window_of_its_input():
    window, steps = 100, 300
    cell = LMUCell(12, window=window)
    params = cell.init(jax.random.key(0), 1)._replace(e_x=jnp.ones(1))
    t = np.arange(steps)
    u = np.sin(2 * np.pi * t / 80) + 0.5 * np.cos(2 * np.pi * t / 130)
    carry, _ = unroll(cell, params, jnp.asarray(u[:, None, None], jnp.float32))
    # Shifted Legendre polynomials over the delay, from 0 to the window.
    delays = np.arange(5, 95)
    decoded = legendre.legval(2 * delays / window - 1, np.asarray(carry.m[0]))
    np.testing.assert_allclose(decoded, u[steps - 1 - delays], atol=0.05)


def test_dales_law_keeps_the_sign_of_each_unit_whatever_the_weights():
    cell = CTRNNCell(10, excitatory=0.8)
    w_h = jax.random.normal(jax.random.key(0), (10, 10))
    params = cell.init(jax.random.key(1), 2)._replace(w_h=w_h)
    effect = jax.jacobian(lambda h: cell.mix(params, cell.carry_type(h)))(jnp.ones(10)).T
    assert (effect[:8] >= 0).all() and (effect[8:] <= 0).all()
    balanced = cell.init(jax.random.key(2), 2)
    strength = np.abs(balanced.w_h).sum(1)
    assert strength[8:].mean() == pytest.approx(4 * strength[:8].mean(), rel=0.3)


def test_the_noise_of_a_ctrnn_has_its_stationary_variance():
    leak, sigma = 0.1, 0.3
    cell = CTRNNCell(4, leak=leak, noise=sigma)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    xs = jnp.zeros((4000, 8, 1))
    _, quiet = unroll(cell, params, xs)
    assert not quiet.any()
    carries = []
    for seed in range(2):
        carry, ys = unroll(cell, params, xs, key=jax.random.key(seed))
        carries.append(carry.h)
        # Rates are the positive half of a normal h, so their mean square is half the variance.
        want = 2 * leak * sigma**2 / (1 - (1 - leak) ** 2)
        np.testing.assert_allclose(2 * (ys[200:] ** 2).mean(), want, rtol=0.1)
    assert not jnp.allclose(*carries)


@pytest.mark.parametrize("map", ["exponential", "cayley"])
@pytest.mark.parametrize("inner", [RNNCell(6), GRUCell(5)])
def test_recurrent_matrices_stay_orthogonal_after_an_update(inner, map):
    cell = orthogonal_recurrence(inner, map)
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(1), (20, 4, 3))
    grads = jax.grad(lambda p: (unroll(cell, p, xs)[1] ** 2).mean())(params)
    assert float(jnp.abs(grads.w_h).max()) > 0
    params = jax.tree.map(lambda p, g: p - g, params, grads)
    w_h, size = cell.inner_params(params).w_h, inner.hidden_size
    for block in jnp.split(w_h, w_h.shape[1] // size, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(size), atol=1e-5)


@pytest.mark.parametrize("map", ["exponential", "cayley"])
def test_an_orthogonal_matrix_starts_as_rotations_by_uniform_angles(map):
    cell = orthogonal_recurrence(RNNCell(200), map)
    w_h = cell.inner_params(cell.init(jax.random.key(0), 1)).w_h
    angles = np.sort(np.abs(np.angle(np.linalg.eigvals(np.asarray(w_h)))))
    np.testing.assert_allclose(angles, np.pi * np.linspace(0, 1, 200), atol=0.4)


def test_an_orthogonal_linear_net_keeps_the_norm_of_its_state():
    cell = orthogonal_recurrence(RNNCell(16, activation=lambda x: x))
    params = cell.init(jax.random.key(0), 1)
    h = jax.random.normal(jax.random.key(1), (3, 16))
    carry = cell.initial_carry((3,))._replace(h=h)
    last, _ = unroll(cell, params, jnp.zeros((1000, 3, 1)), carry)
    norms = jnp.linalg.norm(last.h, axis=1), jnp.linalg.norm(h, axis=1)
    np.testing.assert_allclose(*norms, rtol=1e-3)


MISTAKES = {
    "leak": (lambda: CTRNNCell(3, leak=0), "leak must be above 0 and at most 1, got 0"),
    "noise": (lambda: CTRNNCell(3, noise=-1), "noise must be at least 0, got -1"),
    "share": (lambda: CTRNNCell(3, excitatory=1), "excitatory must be a share between 0 and 1"),
    "rates": (lambda: CTRNNCell(3, activation="elu"), "activation must be 'relu' or 'tanh'"),
    "indrnn": (lambda: IndRNNCell(3, activation="elu"), "activation must be 'relu' or 'tanh'"),
    "window": (lambda: LMUCell(3, window=0), "window must be a positive number of steps, got 0"),
    "a_min": (lambda: MinGRUCell(3, a_min=-1.5), "a_min must be at least -1 and below 1, got -1.5"),
    "steps": (lambda: S5Cell(3, steps=(0.1, 0.1)), "steps must be 0 < low < high"),
    "map": (lambda: orthogonal_recurrence(LSTMCell(3), "qr"), "map must be 'exponential' or"),
    "no w_h": (lambda: orthogonal_recurrence(MinGRUCell(3)), "needs params with w_h .*MinGRUCell"),
    "inside": (lambda: orthogonal_recurrence(layer_norm(LSTMCell(3))), "it before layer_norm"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("make, words", MISTAKES.values(), ids=MISTAKES)
def test_an_option_out_of_range_is_one_sentence(make, words):
    with pytest.raises(InputError, match=words):
        make()
