"""One problem for every cell, ways to run it, and a Python loop to hold them against."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from cells import DRIVERS, T

from rnn_jax import unroll
from rnn_jax.typing import Array

B, D = 4, 2


class Problem(NamedTuple):
    """What a cell is run on, and a cotangent for each thing that comes out: (carry, ys)."""

    params: tuple
    xs: Array
    carry: tuple
    cotangents: tuple


def problem(cell, steps=T, batch=(B,), features=D, dtype=jnp.float64, seed=0):
    """Random values for all that goes in, and for the cotangents of all that comes out."""
    rng = np.random.default_rng(seed)

    def normal(like):
        return jnp.asarray(rng.normal(size=like.shape), dtype)

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), features))
    params = jax.tree.map(lambda p: 0.5 * normal(p), params)
    xs = normal(np.empty((steps, *batch, features)))
    carry = jax.tree.map(normal, cell.initial_carry(batch))
    cotangents = jax.tree.map(normal, (carry, np.empty((steps, *batch, cell.hidden_size))))
    return Problem(params, xs, carry, cotangents)


@partial(jax.jit, static_argnames=("cell", "driver"))
def run(cell, params, xs, carry=None, *, lengths=None, driver="auto"):
    """`unroll`, compiled: the final carry and the outputs."""
    return unroll(cell, params, xs, carry, lengths=lengths, **DRIVERS[driver].options)


def pull_back(f, cotangents, *arguments):
    """What f returns, and the gradient of what it returns, weighed by cotangents."""
    values, vjp = jax.vjp(f, *arguments)
    return values, vjp(cotangents)


@partial(jax.jit, static_argnames=("cell", "driver"))
def run_back(cell, params, xs, carry, cotangents, *, lengths=None, driver="auto"):
    """The values of `run`, and its gradients by params, xs and carry."""
    unrolled = partial(unroll, cell, lengths=lengths, **DRIVERS[driver].options)
    return pull_back(unrolled, cotangents, params, xs, carry)


@partial(jax.jit, static_argnums=0)
def _step(cell, params, carry, x):
    return cell.step(params, carry, x)


@partial(jax.jit, static_argnums=0)
def _step_back(cell, params, carry, x, cotangents):
    return pull_back(cell.step, cotangents, params, carry, x)[1]


def loop(cell, params, xs, carry):
    """`run` as a Python loop over the steps of the cell."""
    ys = np.zeros((*xs.shape[:-1], cell.hidden_size), xs.dtype)
    for t, x in enumerate(np.asarray(xs)):
        carry, ys[t] = _step(cell, params, carry, x)
    return carry, ys


def loop_back(cell, params, xs, carry, cotangents):
    """`run_back` as a Python loop: back-propagation through time, one step at a time."""
    xs, d_carry, d_ys = np.asarray(xs), cotangents[0], np.asarray(cotangents[1])
    carries = [carry]
    for x in xs:
        carries.append(_step(cell, params, carries[-1], x)[0])
    d_params, d_xs = jax.tree.map(np.zeros_like, params), np.zeros_like(xs)
    for t in reversed(range(len(xs))):
        d_out = (d_carry, d_ys[t])
        d_step, d_carry, d_xs[t] = _step_back(cell, params, carries[t], xs[t], d_out)
        d_params = jax.tree.map(np.add, d_params, d_step)
    return loop(cell, params, xs, carry), (d_params, d_xs, d_carry)


def inner(a, b):
    """The inner product of two trees."""
    return sum(jax.tree.leaves(jax.tree.map(np.vdot, a, b)))


def assert_close(got, want, tolerance=1e-12):
    """The same tree, and every leaf within `tolerance`, absolute and relative."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def assert_same(got, want):
    """The same tree, bit for bit."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)
