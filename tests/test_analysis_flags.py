"""Analysis functions under JAX settings, with any kind of array, and without recompilation."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H

from rnn_jax import InputError, LSTMCell, gate_activations, unroll_carries
from rnn_jax.analysis.adjoint_probe import unroll_probed, zero_probe
from rnn_jax.analysis.gradient_flow import (
    adjoint_norms,
    log10_mean,
    loss_adjoint_norms,
    parameter_gradient_norms,
    parameter_norms,
)
from rnn_jax.analysis.jacobians import long_term_jacobians
from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.analysis.time_scales import gate_statistics, half_life, time_constant
from rnn_jax.drivers.newton import unroll_newton
from rnn_jax.testing.oracle import B, D, problem

pytestmark = pytest.mark.usefixtures("unchecked")

STEPS = 5
PARAMS = jax.device_get(problem(LSTMCell(H), dtype=np.float32).params)
XS = np.random.default_rng(0).normal(size=(STEPS, B, D)).astype(np.float32)


def ones(xs):
    return np.ones((len(xs), B, H), np.float32)


def squares(carry, ys):
    return (ys * ys).sum() + carry.c.sum()


def probed_norms(cell, params, xs):
    probe = zero_probe(cell, len(xs), (B,))
    if isinstance(xs, jax.Array):
        probe = jax.device_put(probe, xs.sharding)
    return jax.grad(lambda probe: unroll_probed(cell, params, xs, probe)[1].sum())(probe)


FUNCTIONS = {
    "lyapunov_spectrum": lyapunov_spectrum,
    "leading exponent": lambda *given: lyapunov_spectrum(*given, count=np.int64(1)),
    "long_term_jacobians": lambda *given: long_term_jacobians(*given, every=np.int32(2)),
    "adjoint_norms": lambda *given: adjoint_norms(*given, d_ys=ones(given[2])),
    "loss_adjoint_norms": lambda *given: loss_adjoint_norms(squares, *given),
    "parameter_gradient_norms": lambda *given: parameter_gradient_norms(
        *given, d_ys=ones(given[2])
    ),
    "parameter_norms": lambda cell, params, xs: parameter_norms(cell, params),
    "gate_activations": gate_activations,
    "gate_statistics": lambda *given: gate_statistics(gate_activations(*given)),
    "unroll_carries": unroll_carries,
    "unroll_probed": probed_norms,
    "unroll_newton": unroll_newton,
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def call(name, xs=XS, params=PARAMS):
    return jax.device_get(FUNCTIONS[name](LSTMCell(H), params, xs))


def assert_as_always(name, got):
    want = call(name)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for mine, reference in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-5)


@every_function
def test_an_equal_cell_and_new_values_compile_nothing(name, compilations):
    call(name)
    before = len(compilations)
    call(name, XS + 1)
    assert len(compilations) == before


def test_a_new_loss_compiles_only_itself(compilations):
    def run(scale):
        loss_adjoint_norms(lambda carry, ys: scale * ys.sum(), LSTMCell(H), PARAMS, XS)

    run(2.0)
    before = len(compilations)
    run(3.0)
    assert len(compilations) == before


def memory_map(folder):
    mapped = np.memmap(folder / "xs", np.float32, "w+", shape=XS.shape)
    mapped[:] = XS
    return mapped


@every_function
@pytest.mark.parametrize(
    "given",
    [
        lambda tmp_path: jnp.asarray(XS),
        lambda tmp_path: XS.tolist(),
        memory_map,
    ],
    ids=["jax", "lists", "memory map"],
)
def test_inputs_may_be_any_kind_of_array(name, given, tmp_path):
    assert_as_always(name, call(name, given(tmp_path)))


SETTINGS = {
    "ranks": lambda: jax.numpy_rank_promotion("raise"),
    "dtypes": lambda: jax.numpy_dtype_promotion("strict"),
    "64 bits": lambda: jax.enable_x64(True),
    "no jit": jax.disable_jit,
}


@every_function
@pytest.mark.parametrize("setting", SETTINGS)
def test_jax_settings_change_no_value(name, setting):
    with SETTINGS[setting]():
        got = call(name)
    assert_as_always(name, got)


@every_function
@pytest.mark.parametrize("context", [contextlib.nullcontext, jax.disable_jit])
def test_zero_steps_are_a_valid_sequence(name, context):
    with context():
        if "expo" in name or "lyapunov" in name:
            with pytest.raises(InputError, match="T, the length of xs"):
                call(name, XS[:0])
        else:
            call(name, XS[:0])


@every_function
@pytest.mark.parametrize("set_mesh", [False, True])
def test_a_batch_on_explicit_axes_of_a_mesh_gives_the_same(name, set_mesh):
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    where = jax.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "data"))
    # The test itself computes this sum and gradient, which JAX requires inside the mesh.
    set_mesh |= FUNCTIONS[name] is probed_norms
    with jax.set_mesh(mesh) if set_mesh else contextlib.nullcontext():
        got = call(name, jax.device_put(XS, where))
    assert_as_always(name, got)


@every_function
@pytest.mark.parametrize("cell", [LSTMCell, "lstm", None, 64])
def test_an_argument_that_is_not_a_cell_is_named(name, cell):
    with pytest.raises(InputError, match=r"needs a cell.* got"):
        FUNCTIONS[name](cell, PARAMS, XS)


@pytest.mark.parametrize(
    "function, says",
    [
        (lambda *given: lyapunov_spectrum(*given, count=True), "count must be"),
        (lambda *given: lyapunov_spectrum(*given, burn_in=1.0), "burn_in must be"),
        (lambda *given: lyapunov_spectrum(*given, burn_in=STEPS), "burn_in must be"),
        (lambda *given: lyapunov_spectrum(*given, qr_every=None), "qr_every must be"),
        (lambda *given: long_term_jacobians(*given, every=0), "every must be"),
        (lambda *given: long_term_jacobians(*given, every=True), "every must be"),
        (lambda *given: adjoint_norms(*given, d_ys=np.ones((STEPS, B, H), int)), "floating"),
        (lambda *given: loss_adjoint_norms(None, *given), "loss must be a function"),
        (lambda *given: loss_adjoint_norms(lambda carry, ys: ys, *given), "one floating-point"),
        (lambda *given: unroll_probed(*given, None), "probe must be zero_probe"),
        (lambda *given: unroll_probed(*given, zero_probe(given[0], 4, (B,))), "zero_probe"),
        (lambda *given: half_life([]), "one norm for each step"),
        (lambda *given: half_life([[1.0]]), "one norm for each step"),
    ],
)
def test_a_wrong_argument_is_one_sentence(function, says):
    with pytest.raises(InputError, match=says):
        function(LSTMCell(H), PARAMS, XS)


def test_time_scales_take_lists():
    gates = [[[0.5, 0.25]], [[0.5, 0.25]]]
    np.testing.assert_allclose(time_constant(gates), 1 / np.log([[2, 4]]), rtol=1e-6)
    np.testing.assert_allclose(gate_statistics({"f": gates})["f"].mean, [0.375, 0.375])
    np.testing.assert_allclose(log10_mean([1.0, 1.0]), 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["adjoint_norms", "lyapunov_spectrum", "gate_activations"])
def test_nan_in_one_example_does_not_reach_others(name):
    xs = XS.copy()
    xs[2, 1] = np.nan
    got, want = call(name, xs), call(name)
    for mine, reference in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        axis = 0 if name == "lyapunov_spectrum" else 1
        assert not np.isfinite(np.take(mine, 1, axis)).all()
        np.testing.assert_allclose(
            np.delete(mine, 1, axis), np.delete(reference, 1, axis), rtol=1e-3, atol=1e-5
        )
