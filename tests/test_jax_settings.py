"""Cells and drivers under JAX settings and on meshes of devices."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, telling_cell
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from rnn_jax import LSTMCell, MinGRUCell, learned_carry, unroll
from rnn_jax.testing.oracle import DRIVERS, D, drivers_for, places

T, B = 5, 2

STRICT = {"jax_numpy_rank_promotion": "raise", "jax_numpy_dtype_promotion": "strict"}


@contextlib.contextmanager
def settings(**values):
    before = {name: getattr(jax.config, name) for name in values}
    for name, value in values.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def problem(cell, key, steps=T, batch=B):
    xs = jax.random.normal(key, (steps, batch, *places(cell), D), jnp.float32)
    return cell.init(key, D), xs


def everything(cell, params, xs, driver, **options):
    """Final carry, outputs, and gradients by params and xs."""

    def loss(params, xs):
        carry, ys = unroll(cell, params, xs, driver=DRIVERS[driver], **options)
        total = sum(leaf.sum() for leaf in jax.tree.leaves((carry, ys)))
        return total.astype(jnp.float32), (carry, ys)

    (_, values), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, xs)
    return jax.device_get((values, grads))


def assert_close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)


@pytest.mark.parametrize("row", [name for name in CELLS if name != "leaky"])  # As users write.
def test_a_step_is_the_same_under_strict_promotion(row):
    cell = CELLS[row].cell
    params, xs = problem(cell, jax.random.key(0))
    carry = cell.initial_carry(xs.shape[1:-1])
    step = jax.jit(lambda *given: cell.step(*given))
    want = jax.device_get(step(params, carry, xs[0]))
    with settings(**STRICT):
        jax.eval_shape(lambda: cell.init(jax.random.key(1), D))
        assert_close(jax.device_get(step(params, carry, xs[0])), want)


@telling_cell
def test_32_bit_inputs_run_with_x64_enabled(cell):
    params, xs = problem(cell, jax.random.key(0))
    for driver in drivers_for(cell):
        want = everything(cell, params, xs, driver)
        with settings(jax_enable_x64=True):
            assert_close(everything(cell, params, xs, driver), want)


@pytest.mark.parametrize("row", ["lstm", "gru_reset_before", "lru", "normed", "conv_lstm"])
def test_runs_and_gradients_are_the_same_under_strict_promotion(row):
    cell = CELLS[row].cell
    params, xs = problem(cell, jax.random.key(0))
    lengths = jnp.array([T, 2])
    mask = jnp.asarray(np.arange(T)[:, None] < np.array([T, 2]))
    resets = jnp.zeros((T, B), bool).at[3].set(True)
    cut = {"mask": mask, "resets": resets, "tbptt_steps": 2, "reverse": True}
    for driver in set(drivers_for(cell)) - {"remat"}:
        options = cut if driver == "chunked" else {"lengths": lengths}
        want = everything(cell, params, xs, driver, **options)
        with settings(**STRICT):
            assert_close(everything(cell, params, xs, driver, **options), want)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("generator", ["threefry2x32", "rbg"])
@telling_cell
def test_legacy_keys_initialize_parameters(cell, generator):
    with settings(jax_default_prng_impl=generator):
        old, new = (cell.init(make(0), D) for make in (jax.random.PRNGKey, jax.random.key))
        assert_close(jax.device_get(old), jax.device_get(new))


@pytest.mark.parametrize("steps", [0, 3])
@telling_cell
def test_everything_runs_with_jit_disabled(cell, steps):
    params, xs = problem(cell, jax.random.key(0), steps=steps)
    for driver in drivers_for(cell):
        want = jax.device_get(unroll(cell, params, xs, driver=DRIVERS[driver]))
        with jax.disable_jit():
            assert_close(jax.device_get(unroll(cell, params, xs, driver=DRIVERS[driver])), want)


@telling_cell
def test_nan_in_padding_is_no_error_under_debug_nans(cell):
    params, xs = problem(cell, jax.random.key(0))
    lengths = jnp.array([T, 2])
    clean, padded = xs.at[2:, 1].set(0), np.array(xs)
    padded[2:, 1] = np.nan
    padded = jnp.asarray(padded)
    for driver in drivers_for(cell):
        want = everything(cell, params, clean, driver, lengths=lengths)
        with jax.debug_nans(True):
            got = everything(cell, params, padded, driver, lengths=lengths)
        assert_close(got, want)


def explicit_mesh():
    return jax.make_mesh(
        (2,), ("data",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:2]
    )


SHARDED = [
    pytest.param(CELLS[name].cell, driver, id=f"{name}-{driver}")
    for name, drivers in {
        "lstm": ("scan", "chunked", "remat", "newton"),
        "gru_reset_before": ("scan",),
        "mingru": ("scan", "associative"),
        "normed": ("chunked",),
        "lru": ("chunked", "associative"),
        "conv_lstm": ("scan", "chunked"),
    }.items()
    for driver in drivers
]


@pytest.mark.parametrize("cell, driver", SHARDED)
def test_a_batch_may_be_sharded_over_explicit_axes(cell, driver):
    params, xs = problem(cell, jax.random.key(0))
    want = everything(cell, params, xs, driver)
    mesh = explicit_mesh()
    with jax.set_mesh(mesh):
        params = jax.device_put(params, NamedSharding(mesh, P()))
        sharded = jax.device_put(xs, NamedSharding(mesh, P(None, "data")))
        assert_close(everything(cell, params, sharded, driver), want)
        compiled = jax.jit(lambda p, x: unroll(cell, p, x, driver=DRIVERS[driver]))
        assert_close(jax.device_get(compiled(params, sharded)), want[0])


@pytest.mark.parametrize("with_carry", [False, True])
@pytest.mark.parametrize("cell, driver", SHARDED)
def test_a_batch_may_be_split_by_shard_map_with_checks(cell, driver, with_carry):
    params, xs = problem(cell, jax.random.key(0))
    want = jax.device_get(unroll(cell, params, xs, driver=DRIVERS[driver]))

    def local(params, xs):
        carry = cell.start(params, xs.shape[1:-1]) if with_carry else None
        return unroll(cell, params, xs, carry, driver=DRIVERS[driver])

    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    specs = {"in_specs": (P(), P(None, "data")), "out_specs": (P("data"), P(None, "data"))}
    run = jax.jit(jax.shard_map(local, mesh=mesh, check_vma=True, **specs))
    assert_close(jax.device_get(run(params, xs)), want)


@pytest.mark.parametrize("driver", ["scan", "chunked", "associative"])
def test_a_run_is_exported_for_any_batch_size(driver):
    cell = learned_carry(MinGRUCell(4))
    params, xs = problem(cell, jax.random.key(0), steps=70, batch=3)
    (size,) = jax.export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct((70, size, D), jnp.float32)

    def run(xs):
        return unroll(cell, params, xs, driver=driver)[1]

    exported = jax.export.export(jax.jit(run))(shape)
    np.testing.assert_allclose(exported.call(xs), run(xs), rtol=1e-5, atol=1e-6)


def test_a_run_is_exported_for_any_number_of_steps():
    cell = LSTMCell(4)
    params, xs = problem(cell, jax.random.key(0), steps=70)
    (steps,) = jax.export.symbolic_shape("t")
    shape = jax.ShapeDtypeStruct((steps, B, D), jnp.float32)

    def run(xs):
        return unroll(cell, params, xs)[1]

    exported = jax.export.export(jax.jit(run))(shape)
    np.testing.assert_allclose(exported.call(xs), run(xs), rtol=1e-5, atol=1e-6)
