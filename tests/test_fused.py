"""The fused driver equals the reference, and compiles for GPUs and TPUs without one."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS
from jax.sharding import AbstractMesh

from rnn_jax import (
    ConvLSTMCell,
    GatedCell,
    GRUCell,
    HiddenCarry,
    InputError,
    LSTMCell,
    MinGRUCell,
    ProjectedLSTMCell,
    ResetBeforeGRUCell,
    drop_connect,
    dropout,
    layer_norm,
    learned_carry,
    unroll,
    zoneout,
)
from rnn_jax.cells.checks import has_recurrent_product
from rnn_jax.drivers.fused import Fused
from rnn_jax.drivers.fused_scan import fused_scan
from rnn_jax.drivers.kernel_operands import ROWS
from rnn_jax.testing import CHECKS, Case
from rnn_jax.testing.case import as_type
from rnn_jax.testing.oracle import B, T, assert_close, problem, run_back

LENGTHS = np.array([0, 3, T, 5], np.int32)
RESETS = np.random.default_rng(0).random((T, B)) < 0.3
CASES = {
    "plain": {},
    "lengths": {"lengths": LENGTHS},
    "resets": {"resets": RESETS},
    "both-reverse": {"mask": RESETS[::-1], "resets": RESETS, "reverse": True},
}
FUSED = {
    name: row.cell
    for name, row in CELLS.items()
    if has_recurrent_product(row.cell) and not row.cell.spatial_axes
}
WIDE = {
    name: dataclasses.replace(cell, hidden_size=128)
    for name, cell in FUSED.items()
    if not hasattr(cell, "inner")
}
WIDE |= {"zoneout": zoneout(LSTMCell(128), 0.1, 0.2), "normed": layer_norm(GRUCell(128))}
WIDE |= {"learned": learned_carry(LSTMCell(128)), "projected": ProjectedLSTMCell(128)}
PLATFORMS = {"gpu": "cuda", "tpu": "tpu"}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
@pytest.mark.parametrize("cell", FUSED.values(), ids=FUSED)
def test_values_and_gradients_are_those_of_scan(cell, options, float64):
    point = problem(cell)
    got, want = (run_back(cell, *point, driver=d, **options) for d in ("fused", "scan"))
    assert_close(got, want)


@pytest.mark.parametrize("cell", FUSED.values(), ids=FUSED)
def test_bfloat16_weights_give_float32_results_close_to_float64(cell, float64):
    CHECKS["bfloat16 weights give float32 results close to float64"](Case(cell, "fused"))
    point = problem(cell, dtype=np.float32)
    params, carry = cell.cast_matrices(point.params, jnp.bfloat16), cell.initial_carry((B,))
    point = point._replace(params=params, carry=carry)
    gradients = run_back(cell, *point, driver="fused")[1]
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), point)
    assert_close(as_type(np.float64, gradients), run_back(cell, *wide, driver="scan")[1], 0.05)


@pytest.mark.parametrize("steps, batch", [(1, (1,)), (3, (ROWS + 1,)), (5, (2, 3))])
def test_any_number_of_steps_and_examples_runs(steps, batch, float64):
    cell = GRUCell(3)
    point = problem(cell, steps, batch)
    got, want = (run_back(cell, *point, driver=d) for d in ("fused", "scan"))
    assert_close(got, want)


def test_noise_is_that_of_scan():
    cell = zoneout(drop_connect(LSTMCell(4), 0.2), 0.2, 0.1)
    params, xs, carry, _ = problem(cell, dtype=np.float32)
    key = jax.random.key(7)
    got, want = (unroll(cell, params, xs, carry, key=key, driver=d) for d in ("fused", "scan"))
    assert_close(got, want, 1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_chunks_of_a_tpu_give_the_states_of_a_loop(reverse, monkeypatch):
    """The interpreter runs the kernel of a TPU, with several chunks and a shorter last one."""
    from rnn_jax.drivers import fused_scan as module

    options = module._options
    monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(module, "_options", lambda *given: options(*given) | {"interpret": True})
    rng = np.random.default_rng(0)
    w, start, xs = (
        jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((8, 8), (3, 8), (7, 3, 8))
    )

    def step(w, state, x):
        return jnp.tanh(state @ w + x)

    got = fused_scan(step, w, start, xs, width=8, platform="tpu", reverse=reverse)
    _, want = jax.lax.scan(lambda s, x: 2 * (step(w, s, x),), start, xs, reverse=reverse)
    np.testing.assert_allclose(got, want, atol=1e-5)


def h100():
    """A context in which Triton kernels compile without a GPU."""
    if jax.__version_info__ < (0, 11):
        return contextlib.nullcontext()
    from jax.sharding import AbstractDevice

    device = AbstractDevice("NVIDIA H100 80GB HBM3", 132, "gpu")
    return jax.sharding.use_abstract_mesh(AbstractMesh((), (), abstract_device=device))


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", WIDE)
def test_training_compiles_for_gpus_and_tpus(name, platform):
    cell = WIDE[name]
    lengths, resets = jnp.zeros(20, jnp.int32), jnp.zeros((T, 20), bool)

    def loss(params, xs):
        options = {"lengths": lengths, "resets": resets, "key": jax.random.key(0)}
        driver = Fused(platform=platform)
        return unroll(cell, params, xs, driver=driver, **options)[1].sum()

    params = cell.init(jax.random.key(0), 5)
    with h100() if platform == "gpu" else contextlib.nullcontext():
        traced = jax.jit(jax.grad(loss, (0, 1))).trace(params, jnp.ones((T, 20, 5)))
        lowered = traced.lower(lowering_platforms=(PLATFORMS[platform],))
    call = "triton" if platform == "gpu" else "tpu_custom_call"
    assert lowered.as_text().count(call) >= 2


class Sorted(GatedCell):
    """A cell whose gates are reversed, for which no tiles can be found."""

    gates = ("a", "b")

    def update(self, params, carry, x_gates, h_gates):
        a, b = self.split(jnp.flip(x_gates + h_gates, -1))
        return HiddenCarry(jnp.tanh(a) * carry.h + b)


@pytest.mark.parametrize(
    "cell, driver, words",
    [
        (ResetBeforeGRUCell(3), Fused(), "with a recurrent product .*got ResetBeforeGRUCell"),
        (MinGRUCell(3), Fused(), "got MinGRUCell"),
        (ConvLSTMCell(3), Fused(), "got ConvLSTMCell"),
        (LSTMCell(100), Fused("gpu"), "a power of two from 16 to 128 on a GPU, got 100"),
        (LSTMCell(1024), Fused("tpu"), "up to 512 on a TPU, got 1024"),
        (Sorted(16), Fused("gpu"), "cannot compute rev of gates on a GPU"),
    ],
)
def test_a_cell_that_does_not_fit_is_one_sentence(cell, driver, words):
    params, xs, carry, _ = problem(cell, dtype=np.float32)
    with pytest.raises(InputError, match=words):
        unroll(cell, params, xs, carry, driver=driver)


def test_dropout_is_one_sentence():
    cell = dropout(LSTMCell(3), state=0.1)
    params, xs, carry, _ = problem(cell, dtype=np.float32)
    unroll(cell, params, xs, carry, driver="fused")
    with pytest.raises(InputError, match="does not support dropout with a key"):
        unroll(cell, params, xs, carry, key=jax.random.key(0), driver="fused")


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_platform_is_an_input_error():
    with pytest.raises(InputError, match="cpu, gpu or tpu, got 'cuda'"):
        Fused("cuda")
