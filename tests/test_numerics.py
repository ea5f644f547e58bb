"""Norms and clipping without overflow, and the origin of nonfinite numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnn_jax.errors import InputError
from rnn_jax.numerics import (
    all_finite,
    clip_by_global_norm,
    first_bad_leaf,
    first_bad_primitive,
    global_norm,
    named,
)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
def test_the_norm_neither_overflows_nor_vanishes(scale):
    tree = {"a": jnp.array([3.0, 0.0]) * scale, "b": jnp.array(4.0) * scale}
    np.testing.assert_allclose(global_norm(tree), 5 * scale, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_the_norm_of_nonfinite_values_is_not_finite(bad):
    assert not np.isfinite(global_norm([jnp.array([1.0, bad])]))


def test_the_norm_of_zeros_and_of_an_empty_tree_is_zero():
    assert global_norm([jnp.zeros(3), jnp.zeros(0)]) == 0


LARGE = 5000
"""More numbers than the 4096 at which XLA's maximum on CPUs drops NaN."""


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, np.nan), complex(np.inf, 1)])
@pytest.mark.parametrize("fill", [False, True])
def test_a_nonfinite_number_is_found_in_arrays_of_any_size(bad, fill):
    leaf = np.full(LARGE, bad) if fill else np.append(np.ones(LARGE), bad)
    tree = {"a": jnp.ones(2), "b": jnp.asarray(leaf)}
    assert not np.isfinite(jax.jit(global_norm)(tree))
    assert not jax.jit(all_finite)(tree)
    assert first_bad_leaf(tree) == "b"
    optimizer = clip_by_global_norm(1.0)
    assert not all_finite(optimizer.update(tree, optimizer.init(None))[0])


@pytest.mark.parametrize(
    "tree, norm",
    [
        ([jnp.array([3 + 4j])], 5),
        ({"a": jnp.array([3e25 + 4e25j]), "b": jnp.zeros(0)}, 5e25),
        ({"a": jnp.array([3j]), "b": jnp.array([[4.0]])}, 5),
        ({"a": jnp.array([-3]), "b": jnp.array([4.0])}, 5),
        ([jnp.array([-128], jnp.int8)], 128),
        ([jnp.full(10_000, 6e4, jnp.float16)], 6e6),
        ([jnp.full(10_000, 1.0, jnp.bfloat16)], 100),
        ([3.0, np.float32(4), jax.random.key(0), np.zeros(2, jax.dtypes.float0)], 5),
        ({}, 0),
        ([None, ()], 0),
        ([jnp.zeros((0, 3))], 0),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_every_kind_of_number_counts_once(tree, norm, compiled):
    find = jax.jit(lambda: global_norm(tree)) if compiled else lambda: global_norm(tree)
    np.testing.assert_allclose(find(), norm, rtol=1e-6)
    assert all_finite(tree)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        np.testing.assert_allclose(find(), norm, rtol=1e-6)
        clip_by_global_norm(1.0).update(tree, optax.EmptyState())


def clipped(max_norm, *values):
    optimizer = clip_by_global_norm(max_norm)
    updates, _ = optimizer.update({"g": jnp.array(values)}, optimizer.init(None))
    return np.asarray(updates["g"])


@pytest.mark.parametrize("scale", [1e-3, 0.9, 10.0, 1e25])
def test_a_gradient_above_the_limit_keeps_its_direction(scale):
    want = np.array([0.6, 0.8]) * min(scale, 1)
    np.testing.assert_allclose(clipped(1.0, 0.6 * scale, 0.8 * scale), want, rtol=1e-6)


def test_clipping_agrees_with_optax_where_optax_is_right():
    gradient = jnp.array([3.0, -4.0, 12.0])
    for limit in (1.0, 20.0):
        want, _ = optax.clip_by_global_norm(limit).update(gradient, optax.EmptyState())
        np.testing.assert_allclose(clipped(limit, *gradient), want, rtol=1e-6)


@pytest.mark.parametrize(
    "dtype", [jnp.complex64, jnp.float32, jnp.bfloat16, jnp.float16], ids=jnp.dtype
)
def test_clipping_keeps_the_dtype_of_each_leaf(dtype):
    tree = {"a": jnp.array([3, 0], dtype), "b": jnp.array(4.0), "c": jnp.zeros((0, 2), dtype)}
    got, _ = clip_by_global_norm(1.0).update(tree, optax.EmptyState())
    assert jax.tree.map(lambda x: x.dtype, got) == jax.tree.map(lambda x: x.dtype, tree)
    np.testing.assert_allclose(np.asarray(got["a"], complex), [0.6, 0], rtol=4e-3)
    np.testing.assert_allclose(got["b"], 0.8, rtol=1e-6)


def test_a_complex_gradient_keeps_its_direction():
    got, _ = clip_by_global_norm(1.0).update(jnp.array([3e25 + 4e25j]), optax.EmptyState())
    np.testing.assert_allclose(got, [0.6 + 0.8j], rtol=1e-6)


@pytest.mark.parametrize("tree", [{}, [], (), None])
def test_clipping_an_empty_tree_returns_it(tree):
    assert clip_by_global_norm(1.0).update(tree, optax.EmptyState())[0] == tree


@pytest.mark.parametrize("max_norm", [-1.0, np.nan])
def test_an_invalid_clip_norm_is_an_error(max_norm):
    with pytest.raises(InputError, match="max_norm must be"):
        clip_by_global_norm(max_norm)


def test_an_infinite_gradient_is_not_clipped_to_finite_values():
    assert not np.isfinite(clipped(1.0, np.inf, 1.0)).all()


def test_finite_checks_floats_only():
    assert all_finite({"a": jnp.ones(2), "n": jnp.arange(3)})
    assert not all_finite({"a": jnp.ones(2), "b": jnp.array([0.0, jnp.inf])})


def test_the_first_nonfinite_leaf_is_named_by_its_path():
    tree = {"a": jnp.ones(2), "rnn": {"w_h": jnp.array([1.0, jnp.nan])}, "z": jnp.array(jnp.inf)}
    assert list(named(tree)) == ["a", "rnn.w_h", "z"]
    assert first_bad_leaf(tree) == "rnn.w_h"
    assert first_bad_leaf({"a": jnp.ones(2)}) is None


def test_the_first_nonfinite_primitive_is_found_inside_loops_and_jit():
    @jax.jit
    def inner(x):
        return jax.lax.scan(lambda c, _: (jnp.log(c) - 1, c), x, length=3)[0]

    assert "log" in first_bad_primitive(lambda x: jnp.exp(inner(x)), jnp.float32(1.0))
    assert first_bad_primitive(inner, jnp.float32(1e9)) is None


def test_an_overflow_in_bfloat16_is_found_too():
    found = first_bad_primitive(lambda x: jnp.exp(x) - jnp.exp(x), jnp.bfloat16(100))
    assert "exp" in found
