"""The gradient by the probe is the norm of every adjoint; other gradients are unchanged."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, FLOWING, LinearRNNCell

from rnn_jax import InputError, ResetBeforeGRUCell
from rnn_jax.analysis.adjoint_probe import unroll_probed, zero_probe
from rnn_jax.analysis.gradient_flow import adjoint_norms
from rnn_jax.cells.base import GatedCell, GatedParams
from rnn_jax.testing.oracle import B, assert_close, loop_back, problem, pull_back

gated_cell = pytest.mark.parametrize(
    "cell",
    [
        pytest.param(CELLS[name].cell, id=name)
        for name in FLOWING
        if isinstance(CELLS[name].cell, GatedCell)
    ],
)


@partial(jax.jit, static_argnums=0)
def probed_back(cell, params, xs, carry, cotangents):
    probe = zero_probe(cell, len(xs), xs.shape[1:-1], xs.dtype)
    unrolled = partial(unroll_probed, cell)
    arguments = params, xs, probe, carry
    values, (d_params, d_xs, norms, d_carry) = pull_back(unrolled, cotangents, *arguments)
    return values, (d_params, d_xs, d_carry), norms


@gated_cell
def test_norms_equal_the_reference_and_gradients_are_unchanged(cell, float64):
    p = problem(cell)
    values, grads, norms = probed_back(cell, *p)
    assert_close((values, grads), loop_back(cell, *p))
    d_carry, d_ys = p.cotangents
    want = jax.jit(adjoint_norms, static_argnums=0)(cell, p.params, p.xs, d_ys, d_carry, p.carry)
    assert_close(norms, jax.tree.map(lambda field: field[1:], want.carry))


@pytest.mark.parametrize("decades", [-700, 300])
def test_16384_steps_in_float32_neither_underflow_nor_overflow(decades):
    cell, steps = LinearRNNCell(1), 16384
    params = GatedParams(*map(jnp.float32, ([[1.0]], [[10 ** (decades / steps)]], [0.0])))

    @jax.grad
    def norms(probe):
        carry, _ = unroll_probed(cell, params, jnp.zeros((steps, 1)), probe)
        return carry.h[0]

    got = jax.jit(norms)(zero_probe(cell, steps))
    want = np.log10(float(params.w_h[0, 0])) * np.arange(steps)[::-1]
    np.testing.assert_allclose(got.h, want, atol=2e-3)


def test_the_probe_works_under_vmap_over_seeds(float64):
    cell = CELLS["lstm"].cell
    both = [problem(cell, seed=seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
    *_, norms = jax.vmap(partial(probed_back, cell))(*stacked)
    for seed, own in enumerate(both):
        assert_close(
            jax.tree.map(lambda field, i=seed: field[i], norms), probed_back(cell, *own)[2]
        )


def test_no_steps_return_the_carry():
    cell = CELLS["gru"].cell
    p = problem(cell, steps=0, dtype=jnp.float32)
    carry, ys = unroll_probed(cell, p.params, p.xs, zero_probe(cell, 0, (B,)), p.carry)
    assert_close(carry, p.carry)
    assert ys.shape == (0, B, cell.hidden_size)


def test_a_cell_without_gates_is_an_input_error(unchecked):
    cell = ResetBeforeGRUCell(3)
    p = problem(cell, dtype=jnp.float32)
    probe = problem(CELLS["gru"].cell, dtype=jnp.float32).carry
    with pytest.raises(InputError, match=r"use gradient_flow\.adjoint_norms"):
        unroll_probed(cell, p.params, p.xs, probe)
