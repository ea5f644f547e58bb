"""Norms that cannot overflow, clipping that is right for 1e25, and where a bad number arose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

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
def test_the_norm_of_what_is_not_finite_is_not_finite(bad):
    assert not np.isfinite(global_norm([jnp.array([1.0, bad])]))


def test_the_norm_of_zeros_and_of_nothing_is_zero():
    assert global_norm([jnp.zeros(3), jnp.zeros(0)]) == 0


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


def test_an_infinite_gradient_stays_recognisable():
    assert not np.isfinite(clipped(1.0, np.inf, 1.0)).all()


def test_finite_asks_every_float_and_no_other_number():
    assert all_finite({"a": jnp.ones(2), "n": jnp.arange(3)})
    assert not all_finite({"a": jnp.ones(2), "b": jnp.array([0.0, jnp.inf])})


def test_the_first_bad_leaf_is_named_by_its_path():
    tree = {"a": jnp.ones(2), "rnn": {"w_h": jnp.array([1.0, jnp.nan])}, "z": jnp.array(jnp.inf)}
    assert list(named(tree)) == ["a", "rnn.w_h", "z"]
    assert first_bad_leaf(tree) == "rnn.w_h"
    assert first_bad_leaf({"a": jnp.ones(2)}) is None


def test_the_first_bad_primitive_is_found_within_loops_and_compiled_functions():
    @jax.jit
    def inner(x):
        return jax.lax.scan(lambda c, _: (jnp.log(c) - 1, c), x, length=3)[0]

    assert "log" in first_bad_primitive(lambda x: jnp.exp(inner(x)), jnp.float32(1.0))
    assert first_bad_primitive(inner, jnp.float32(1e9)) is None


def test_an_overflow_in_bfloat16_is_found_too():
    found = first_bad_primitive(lambda x: jnp.exp(x) - jnp.exp(x), jnp.bfloat16(100))
    assert "exp" in found
