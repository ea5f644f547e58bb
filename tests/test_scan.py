"""Every driver equals a Python loop over the steps of the cell, under any transformation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from cells import telling_cell, telling_driver, telling_length
from jax.sharding import PartitionSpec as P

from rnn_jax import LSTMCell, unroll
from rnn_jax.testing.oracle import (
    DRIVERS,
    B,
    assert_close,
    inner,
    loop,
    loop_back,
    problem,
    pull_back,
    run_back,
)
from rnn_jax.training.devices.sharding import data_mesh

IN, OUT = (P(), P(None, "data"), P("data")), (P("data"), P(None, "data"))


def unrolled(cell, driver):
    return lambda params, xs, carry=None: unroll(cell, params, xs, carry, driver=DRIVERS[driver])


@telling_length
def test_a_driver_equals_a_loop_at_any_length(cell, driver, steps, float64):
    given = problem(cell, steps, features=1)
    assert_close(run_back(cell, *given, driver=driver), loop_back(cell, *given))


@telling_driver
def test_a_driver_equals_a_python_loop_under_vmap_of_jit(cell, driver, float64):
    *point, cotangents = problem(cell)
    mapped = jax.vmap(jax.jit(unrolled(cell, driver)), in_axes=(None, 1, 0), out_axes=(0, 1))
    got = jax.jit(partial(pull_back, mapped))(cotangents, *point)
    assert_close(got, loop_back(cell, *point, cotangents))


@telling_driver
def test_a_driver_equals_a_python_loop_under_shard_map(cell, driver, float64):
    *point, cotangents = problem(cell)
    split = jax.shard_map(unrolled(cell, driver), mesh=data_mesh(B), in_specs=IN, out_specs=OUT)
    got = jax.jit(partial(pull_back, split))(cotangents, *point)
    assert_close(got, loop_back(cell, *point, cotangents))


@telling_driver
def test_gradients_summed_over_devices_equal_those_of_a_loop(cell, driver, float64):
    *point, cotangents = problem(cell)

    def local(cotangents, *point):
        values, (d_params, *others) = pull_back(unrolled(cell, driver), cotangents, *point)
        return values, (jax.lax.psum(d_params, "data"), *others)

    split = jax.shard_map(
        local, mesh=data_mesh(B), in_specs=(OUT, *IN), out_specs=(OUT, IN), check_vma=False
    )
    got = jax.jit(split)(cotangents, *point)
    assert_close(got, loop_back(cell, *point, cotangents))


@telling_driver
def test_no_carry_is_the_initial_carry_under_shard_map_too(cell, driver, float64):
    params, xs, *_ = problem(cell)
    split = jax.shard_map(unrolled(cell, driver), mesh=data_mesh(B), in_specs=IN[:2], out_specs=OUT)
    want = loop(cell, params, xs, cell.initial_carry((B,), jnp.float64))
    assert_close(jax.jit(split)(params, xs), want)


@telling_driver
def test_parameters_of_each_device_run_on_inputs_that_all_share(cell, driver, float64):
    both = [problem(cell, seed=seed).params for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
    xs = problem(cell).xs

    def local(params, xs):
        carry, _ = unrolled(cell, driver)(jax.tree.map(lambda p: p[0], params), xs)
        return carry.h[None]

    mesh = data_mesh(2)
    split = jax.shard_map(local, mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data"))
    start = cell.initial_carry((B,), jnp.float64)
    want = [loop(cell, params, xs, start)[0].h for params in both]
    assert_close(jax.jit(split)(stacked, xs), np.stack(want))


def test_a_64_bit_carry_keeps_its_dtype(float64):
    cell = LSTMCell(3)
    params, xs, *_ = problem(cell, dtype=jnp.float32)
    carry, ys = unroll(cell, params, xs, problem(cell).carry)
    assert carry.c.dtype == ys.dtype == jnp.float64


@telling_cell
def test_forward_mode_of_scan_is_the_transpose_of_its_reverse_mode(cell, float64):
    *point, cotangents = problem(cell)
    *tangents, _ = problem(cell, seed=1)
    forward = jax.jit(lambda *both: jax.jvp(unrolled(cell, "scan"), *both)[1])
    _, gradients = loop_back(cell, *point, cotangents)
    np.testing.assert_allclose(
        inner(forward(tuple(point), tuple(tangents)), cotangents),
        inner(tuple(tangents), gradients),
        rtol=1e-12,
    )


def test_a_second_call_outside_jit_compiles_nothing(compilations):
    params, xs, carry, _ = problem(LSTMCell(5), dtype=jnp.float32)
    unroll(LSTMCell(5), params, xs, carry)
    assert compilations
    compilations.clear()
    unroll(LSTMCell(5), params, xs, carry)
    assert not compilations
