"""Fixed points equal those of closed forms, of bisection and of a solver."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from rnn_jax import ConvLSTMCell, GRUCell, HiddenCarry, InputError, LSTMCell, RNNCell
from rnn_jax.analysis.fixed_points import find_fixed_points
from rnn_jax.analysis.recording import unroll_carries


def net(w_h, b, activation="tanh"):
    """An RNN with this recurrent matrix and bias, and an input that does nothing."""
    w_h = jnp.asarray(w_h, jnp.float64)
    cell = RNNCell(len(w_h), activation=activation)
    params = cell.init(jax.random.key(0), 1)
    zeros = jnp.zeros((1, len(w_h)), jnp.float64)
    return cell, params._replace(w_x=zeros, w_h=w_h, b=jnp.asarray(b, jnp.float64))


def candidates(number, size, scale=1.0, seed=0):
    return HiddenCarry(scale * np.random.default_rng(seed).normal(size=(number, size)))


def test_a_linear_net_has_one_fixed_point_in_closed_form(float64):
    random = np.random.default_rng(0)
    w_h, b = random.normal(size=(5, 5)) / 4, random.normal(size=5)
    cell, params = net(w_h, b, activation=lambda x: x)
    points = find_fixed_points(cell, params, candidates(20, 5), jnp.zeros(1))
    np.testing.assert_allclose(points.carry.h, (b @ np.linalg.inv(np.eye(5) - w_h))[None])
    np.testing.assert_allclose(points.jacobians[0], w_h, atol=1e-12)
    want = np.sort(np.abs(np.linalg.eigvals(w_h)))[::-1]
    np.testing.assert_allclose(np.abs(points.eigenvalues[0]), want, rtol=1e-6)
    np.testing.assert_allclose(points.time_constants[0], -1 / np.log(want), rtol=1e-5)
    for value, row in zip(points.eigenvalues[0], points.directions[0], strict=True):
        np.testing.assert_allclose(row @ w_h, value * row, atol=1e-10)


def test_a_tanh_unit_has_the_fixed_points_of_bisection(float64):
    w, b = 2.0, 0.1
    cell, params = net([[w]], [b])
    points = find_fixed_points(cell, params, candidates(30, 1), jnp.zeros(1))
    gap = lambda h: np.tanh(w * h + b) - h  # noqa: E731
    want = [optimize.bisect(gap, *ends) for ends in ((-1, -0.5), (-0.5, 0.3), (0.3, 1))]
    order = np.argsort(np.asarray(points.carry.h)[:, 0])
    np.testing.assert_allclose(np.asarray(points.carry.h)[order, 0], want, atol=1e-8)
    np.testing.assert_allclose(
        points.jacobians[order, 0, 0], w * (1 - np.array(want) ** 2), atol=1e-7
    )
    assert points.unstable_dimensions[order].tolist() == [0, 1, 0]


def test_two_hopfield_units_have_the_fixed_points_of_a_solver(float64):
    w_h = np.array([[1.6, 0.2], [0.2, 1.6]])
    cell, params = net(w_h, [0.0, 0.0])
    points = find_fixed_points(cell, params, candidates(200, 2), jnp.zeros(1))
    grid = itertools.product(np.linspace(-1, 1, 15), repeat=2)
    found = [optimize.root(lambda h: np.tanh(h @ w_h) - h, first) for first in grid]
    want = np.unique(np.round([root.x for root in found if root.success], 6) + 0.0, axis=0)
    got = np.unique(np.round(points.carry.h, 6) + 0.0, axis=0)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert len(want) == 9
    assert np.bincount(points.unstable_dimensions).tolist() == [4, 4, 1]


@pytest.mark.parametrize("cell", [LSTMCell(4), GRUCell(4)])
def test_a_point_of_any_cell_stays_and_is_visited(cell, float64):
    params = jax.tree.map(lambda p: 2 * p.astype(jnp.float64), cell.init(jax.random.key(0), 2))
    xs = jax.random.normal(jax.random.key(1), (50, 4, 2), jnp.float64)
    carries = unroll_carries(cell, params, xs)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, 4), carries)
    points = find_fixed_points(cell, params, flat, jnp.zeros(2))
    assert len(points.speeds) >= 1 and (points.speeds <= 1e-10).all()
    for k in range(len(points.speeds)):
        carry = jax.tree.map(lambda leaf, k=k: leaf[k], points.carry)
        after, _ = cell.step(params, carry, jnp.zeros(2))
        for field, moved in zip(carry, after, strict=True):
            np.testing.assert_allclose(moved, field, atol=2e-5)


def test_a_slow_point_is_kept_with_a_larger_tolerance(float64):
    # A ghost: tanh(w h + b) just misses the diagonal near its knee.
    w, b = 2.0, 0.56
    cell, params = net([[w]], [b])
    first = HiddenCarry(np.full((5, 1), -0.7))
    strict = find_fixed_points(cell, params, first, jnp.zeros(1), outlier_distance=1e9)
    slow = find_fixed_points(
        cell, params, first, jnp.zeros(1), outlier_distance=1e9, tolerance=1e-2
    )
    assert len(strict.speeds) == 0
    assert len(slow.speeds) == 1 and 1e-6 < slow.speeds[0] < 1e-2


def test_points_far_from_the_candidates_are_dropped(float64):
    cell, params = net(0.999 * np.eye(2), [1.0, 1.0], activation=lambda x: x)
    points = find_fixed_points(cell, params, candidates(10, 2), jnp.zeros(1))
    assert len(points.speeds) == 0
    points = find_fixed_points(cell, params, candidates(10, 2), jnp.zeros(1), outlier_distance=1e6)
    np.testing.assert_allclose(points.carry.h, [[1000, 1000]], rtol=1e-4)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "change, words",
    [
        ({"cell": ConvLSTMCell(2)}, "without spatial axes, got ConvLSTMCell"),
        ({"carries": HiddenCarry(np.zeros(3))}, r"fields \[N, H\] with N > 0, got HiddenCarry of"),
        ({"carries": HiddenCarry(np.zeros((0, 3)))}, "with N > 0"),
        ({"tolerance": 0}, "tolerance must be above 0, got 0"),
        ({"merge_distance": -1}, "merge_distance must be above 0, got -1"),
        ({"max_iterations": 0}, "max_iterations must be a positive integer, got 0"),
    ],
)
def test_a_mistake_is_one_sentence(change, words):
    cell = RNNCell(3)
    given = {"cell": cell, "params": cell.init(jax.random.key(0), 1)}
    given |= {"carries": candidates(4, 3), "x": jnp.zeros(1)}
    with pytest.raises(InputError, match=words):
        find_fixed_points(**(given | change))
