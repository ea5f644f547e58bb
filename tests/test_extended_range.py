"""Vectors beyond the range of floats, compared with Python's integers and fractions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax.analysis.extended_range import Scaled, add, aligned, log10_norm, power_of_two, rebased


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_powers_of_two_are_exact_over_the_whole_normal_range(dtype, float64):
    info = jnp.finfo(dtype)
    exponents = np.arange(info.minexp, info.maxexp)
    powers = np.array(power_of_two(jnp.asarray(exponents, jnp.int32), dtype))
    np.testing.assert_array_equal(powers, np.ldexp(dtype(1), exponents))
    below = power_of_two(jnp.array([info.minexp - 1, -(2**30)], jnp.int32), dtype)
    np.testing.assert_array_equal(below, [0, 0])


@pytest.mark.parametrize("size", [1e-37, 1e-3, 1.0, 3e38])
def test_rebasing_is_exact(size):
    value = np.float32(size) * np.array([0.3, -1.0, 0.7], np.float32)
    scaled = rebased(jnp.asarray(value), jnp.int32(5000))
    assert 0.5 <= np.abs(np.asarray(scaled.value)).max() < 4
    shift = int(scaled.exponent) - 5000
    np.testing.assert_array_equal(np.ldexp(np.float64(scaled.value), shift), np.float64(value))


def test_a_sum_keeps_a_term_of_similar_size_and_drops_a_tiny_one():
    one = jnp.array([1.0, 0.0])
    far = add(Scaled(one, jnp.int32(-5000)), Scaled(one[::-1], jnp.int32(7000)))
    np.testing.assert_array_equal(far.value, [0, 1])
    assert far.exponent == 7000
    near = add(Scaled(one, jnp.int32(-5000)), Scaled(one, jnp.int32(-5001)))
    np.testing.assert_array_equal(near.value, [1.5, 0])
    zero = add(rebased(jnp.zeros(2)), Scaled(one, jnp.int32(-5000)))
    assert zero.exponent == -5000
    np.testing.assert_array_equal(zero.value, one)


def test_parts_are_aligned_to_the_largest():
    (small, large), exponent = aligned(
        [Scaled(jnp.ones(1), jnp.int32(-3)), Scaled(jnp.ones(1), jnp.int32(2))]
    )
    assert (small[0], large[0], exponent) == (2**-5, 1, 2)


def test_norms_of_the_largest_and_the_smallest_numbers_are_finite():
    assert log10_norm(jnp.full(4, 3e38)) == pytest.approx(np.log10(6e38), rel=1e-6)
    assert log10_norm(jnp.full(4, 1e-37)) == pytest.approx(np.log10(2e-37), rel=1e-6)
    assert np.isneginf(log10_norm(jnp.zeros(3)))
    assert np.isnan(log10_norm(jnp.array([np.nan, 1.0])))


def test_nan_shows_in_the_norm_of_vectors_of_any_size():
    norm = jax.jit(log10_norm)
    for value in (np.full(5000, np.nan), np.append(np.ones(5000), np.nan), [np.nan, np.inf]):
        assert np.isnan(norm(jnp.asarray(value, jnp.float32)))
    total = add(rebased(jnp.full(5000, jnp.nan)), rebased(jnp.ones(5000)))
    assert np.isnan(log10_norm(*total))
    assert not np.isfinite(norm(jnp.array([np.inf, 1.0])))
