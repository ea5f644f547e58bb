"""Vectors beyond the range of floats: a float vector with a separate power of two.

Multiplication by a power of two is exact, so a `Scaled` vector has the precision of floats without
their underflow and overflow.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.typing import Array, Float, Int

_ZERO = -(2**30)
"""The exponent of a vector of zeros: below all others, and far from the limits of int32."""


class Scaled(NamedTuple):
    """The vector `value * 2**exponent`."""

    value: Float[Array, "... N"]
    exponent: Int[Array, "..."]


def power_of_two(exponent: Int[Array, "*shape"], dtype) -> Float[Array, "*shape"]:
    """Exactly 2**exponent, or 0 if it is below the normal range of `dtype`."""
    info = jnp.finfo(dtype)
    biased = jnp.clip(exponent + (info.maxexp - 1), 0, 2 * info.maxexp - 2)
    bits = biased.astype(f"int{info.bits}") << info.nmant
    return jax.lax.bitcast_convert_type(bits, dtype)


def rebased(value: Float[Array, "... N"], exponent: Int[Array, "..."] | int = 0) -> Scaled:
    """`value * 2**exponent`, scaled so that its largest absolute entry is near 1."""
    largest = jnp.max(jnp.abs(value), axis=-1)
    _, shift = jnp.frexp(largest)
    limit = jnp.finfo(value.dtype).maxexp - 2
    shift = jnp.clip(shift, -limit, limit)
    value = value * power_of_two(-shift, value.dtype)[..., None]
    return Scaled(value, jnp.where(largest == 0, _ZERO, exponent + shift))


def add(a: Scaled, b: Scaled) -> Scaled:
    """a + b, at the larger of their exponents."""
    exponent = jnp.maximum(a.exponent, b.exponent)
    return Scaled(_at(a, exponent) + _at(b, exponent), exponent)


def aligned(parts: list[Scaled]) -> tuple[list[Float[Array, "..."]], Int[Array, "..."]]:
    """The values of all parts at their largest exponent, and that exponent."""
    exponent = parts[0].exponent
    for part in parts[1:]:
        exponent = jnp.maximum(exponent, part.exponent)
    return [_at(part, exponent) for part in parts], exponent


def log10_norm(value: Float[Array, "... N"], exponent: Int[Array, "..."] | int = 0):
    """log10 of the Euclidean norm of `value * 2**exponent` over its last axis; -inf for zeros."""
    value, exponent = rebased(value, exponent)
    size = 0.5 * jnp.log10(jnp.sum(value * value, axis=-1))
    return size + exponent.astype(size.dtype) * math.log10(2)


def _at(a, exponent):
    """The value of `a` at an exponent that is not below `a.exponent`."""
    return a.value * power_of_two(a.exponent - exponent, a.value.dtype)[..., None]
