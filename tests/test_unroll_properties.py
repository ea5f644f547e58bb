"""Properties of `unroll` for every cell, driver, size and length."""

import dataclasses
from functools import partial
from itertools import cycle
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, FLOWING
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax import Cell, Chunked, GatedCell, Scan, unroll
from rnn_jax.testing.oracle import assert_close, assert_same, fetched, problem, pull_back


class Net(NamedTuple):
    """A cell, its sizes, and the options of the chunked driver."""

    cell: Cell
    steps: int
    batch: tuple[int, ...]
    features: int
    chunk: int = 2
    remat: bool = False

    @property
    def fast(self):
        """The chunked driver, or the scan driver for a cell without gates."""
        return Chunked(self.chunk, self.remat) if isinstance(self.cell, GatedCell) else Scan()

    def problem(self, seed):
        return jax.device_get(problem(self.cell, self.steps, self.batch, self.features, seed=seed))


def resized(name, hidden_size):
    return dataclasses.replace(CELLS[name].cell, hidden_size=hidden_size)


SIZES = [
    {"steps": 5, "batch": (3,), "features": 1, "chunk": 2},
    {"steps": 4, "batch": (2, 2), "features": 2, "chunk": 2, "remat": True},
    {"steps": 9, "batch": (), "features": 3, "chunk": 1},
    {"steps": 3, "batch": (3,), "features": 2, "chunk": 7, "remat": True},
    {"steps": 6, "batch": (2, 1), "features": 3, "chunk": 2},
]
NETS = {
    name: Net(resized(name, 1 + k % 3), **sizes)
    for k, (name, sizes) in enumerate(zip(FLOWING, cycle(SIZES), strict=False))
} | {
    "no_steps": Net(resized("lstm", 2), 0, (3,), 2),
    "one_step": Net(resized("leaky", 2), 1, (3,), 2),
    "empty_batch": Net(resized("gru", 2), 3, (2, 0), 2),
}

every_net = pytest.mark.parametrize("net", NETS.values(), ids=NETS)
some_examples = settings(max_examples=3)
seeds = st.integers(0, 99)


@fetched
@partial(jax.jit, static_argnames=("cell", "driver"))
def run(cell, driver, params, xs, carry, lengths=None):
    """The final carry and the outputs."""
    return unroll(cell, params, xs, carry, lengths=lengths, driver=driver)


@fetched
@partial(jax.jit, static_argnames=("cell", "driver"))
def run_back(cell, driver, params, xs, carry, cotangents, lengths=None):
    """The values of `run`, and its gradients by params, xs and carry."""
    unrolled = partial(unroll, cell, lengths=lengths, driver=driver)
    return pull_back(unrolled, cotangents, params, xs, carry)


@fetched
@partial(jax.jit, static_argnums=0)
def carries(cell, params, xs, carry):
    """The carry before the first step and after each: [T+1, ..., H]."""

    def step(carry, x):
        after, _ = cell.step(params, carry, x)
        return after, after

    _, later = jax.lax.scan(step, carry, xs)
    return jax.tree.map(lambda c, l: jnp.concatenate([c[None], l]), carry, later)


def draw_lengths(data, net):
    count = int(np.prod(net.batch))
    lengths = data.draw(st.lists(st.integers(0, net.steps), min_size=count, max_size=count))
    return np.array(lengths, np.int32).reshape(net.batch)


def padding(net, lengths):
    return np.arange(net.steps).reshape(-1, *(1,) * lengths.ndim) >= lengths


@every_net
@some_examples
@given(seed=seeds, data=st.data())
def test_the_chunked_driver_gives_the_values_and_gradients_of_scan(net, seed, data, float64):
    given = net.problem(seed)
    for lengths in (None, draw_lengths(data, net)):
        got, want = (run_back(net.cell, how, *given, lengths) for how in (net.fast, Scan()))
        assert_close(got, want)


@every_net
@some_examples
@given(seed=seeds, data=st.data())
def test_the_final_carry_is_that_of_the_last_valid_step(net, seed, data, float64):
    lengths = draw_lengths(data, net)
    params, xs, carry, cotangents = net.problem(seed)
    (last, _), _ = run_back(net.cell, net.fast, params, xs, carry, cotangents, lengths)
    path = carries(net.cell, params, xs, carry)
    chosen = (lengths, *np.indices(net.batch))
    assert_close(last, jax.tree.map(lambda c: c[chosen], path))


@every_net
@some_examples
@given(seed=seeds, data=st.data())
def test_padding_has_zero_outputs_and_gradients(net, seed, data, float64):
    lengths = draw_lengths(data, net)
    given, pad = net.problem(seed), padding(net, lengths)
    (_, whole), _ = run_back(net.cell, net.fast, *given, None)
    (_, ys), (_, d_xs, _) = run_back(net.cell, net.fast, *given, lengths)
    assert_close(ys, np.where(pad[..., None], 0, whole))
    assert not np.any(ys[pad]) and not np.any(d_xs[pad])


@every_net
@some_examples
@given(seed=seeds, data=st.data())
def test_nan_in_padding_reaches_neither_values_nor_gradients(net, seed, data, float64):
    lengths = draw_lengths(data, net)
    params, xs, carry, (d_last, d_ys) = net.problem(seed)

    def fill(value):
        pad = padding(net, lengths)[..., None]
        given = np.where(pad, value, xs), carry, (d_last, np.where(pad, value, d_ys))
        return run_back(net.cell, net.fast, params, *given, lengths)

    assert_same(fill(np.nan), fill(0.0))


@every_net
@some_examples
@given(seed=seeds)
def test_sequences_of_length_zero_return_the_carry_and_its_cotangent(net, seed, float64):
    params, xs, carry, cotangents = net.problem(seed)
    none = np.zeros(net.batch, np.int32)
    values, gradients = run_back(net.cell, net.fast, params, xs, carry, cotangents, none)
    assert_same(values, (carry, np.zeros_like(values[1])))
    assert_same(gradients, (*jax.tree.map(np.zeros_like, (params, xs)), cotangents[0]))


@every_net
@some_examples
@given(seed=seeds, data=st.data())
def test_no_step_depends_on_later_inputs(net, seed, data, float64):
    t = data.draw(st.integers(0, net.steps))
    value = data.draw(st.sampled_from([-3.0, 1e9, np.inf, np.nan]))
    params, xs, carry, (d_last, d_ys) = net.problem(seed)
    before = np.arange(net.steps).reshape(-1, *(1,) * (xs.ndim - 1)) < t
    cotangents = jax.tree.map(np.zeros_like, d_last), np.where(before, d_ys, 0)
    (_, ys), (_, d_xs, _) = run_back(net.cell, net.fast, params, xs, carry, cotangents, None)
    later = params, np.where(before, xs, value), carry, cotangents
    (_, changed), _ = run_back(net.cell, net.fast, *later, None)
    assert_same(changed[:t], ys[:t])
    assert not np.any(d_xs[t:])


@every_net
@some_examples
@given(seed=seeds, data=st.data())
def test_nan_in_one_sequence_reaches_no_other(net, seed, data, float64):
    one = data.draw(st.integers(0, max(int(np.prod(net.batch)) - 1, 0)))
    mine = np.arange(np.prod(net.batch, dtype=int)).reshape(net.batch) == one
    params, xs, carry, cotangents = net.problem(seed)

    def others(xs):
        given = params, xs, carry, cotangents
        (last, ys), (_, d_xs, d_carry) = run_back(net.cell, net.fast, *given, None)
        return jax.tree.map(lambda c: c[~mine], (last, d_carry)), ys[:, ~mine], d_xs[:, ~mine]

    assert_same(others(np.where(mine[..., None], np.nan, xs)), others(xs))


@settings(max_examples=6)
@given(
    name=st.sampled_from(FLOWING),
    hidden_size=st.integers(1, 3),
    net=st.builds(
        Net,
        cell=st.none(),
        steps=st.integers(0, 9),
        batch=st.sampled_from([(), (1,), (3,), (2, 2), (0,)]),
        features=st.integers(1, 3),
        chunk=st.integers(1, 4),
        remat=st.booleans(),
    ),
    seed=seeds,
    data=st.data(),
)
def test_a_ragged_batch_run_in_two_parts_equals_the_whole(
    name, hidden_size, net, seed, data, float64
):
    net = net._replace(cell=resized(name, hidden_size))
    lengths, split = draw_lengths(data, net), data.draw(st.integers(0, net.steps))
    params, xs, carry, _ = net.problem(seed)
    on = partial(run, net.cell, net.fast, params)

    whole = run(net.cell, Scan(), params, xs, carry, lengths)
    middle, head = on(xs[:split], carry, np.minimum(lengths, split))
    last, tail = on(xs[split:], middle, np.maximum(lengths - split, 0))
    assert whole[1].shape == (net.steps, *net.batch, hidden_size)
    assert_close((last, np.concatenate([head, tail])), whole)
