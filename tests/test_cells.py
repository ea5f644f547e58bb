"""Properties that follow from the equations of a cell."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, H, LinearRNNCell
from hypothesis import given
from hypothesis import strategies as st

from rnn_jax import (
    AntisymmetricRNNCell,
    ConvLSTMCell,
    GatedParams,
    GRUCell,
    HiddenCarry,
    LSTMCell,
    MinGRUCell,
    MinLSTMCell,
    ResetBeforeGRUCell,
    RGLRUCell,
    RNNCell,
    unbiased,
    unroll,
)
from rnn_jax.testing.oracle import B, problem, run, run_back

NEVER, ALWAYS = -1e4, 1e4

COMPLEMENTARY = ("gru", "gru_reset_before", "minimal", "ugrnn", "coupled", "mingru", "minlstm")
"""Rows of cells in which one gate weights both the previous state and the new content."""

back = partial(run_back, driver="chunked")


def with_bias(cell, params, **values):
    """The parameters with b set to one value for each gate named."""
    b = params.b.reshape(len(cell.gates), H)
    for gate, value in values.items():
        b = b.at[cell.gates.index(gate)].set(value)
    return params._replace(b=b.ravel())


def test_an_lstm_with_f_1_and_i_0_keeps_c_exactly(float64):
    cell = LSTMCell(H)
    params, xs, carry, cotangents = problem(cell)
    params = with_bias(cell, params, f=ALWAYS, i=NEVER)
    (last, _), _ = back(cell, params, xs, carry, cotangents)
    np.testing.assert_array_equal(last.c, carry.c)


def test_the_gradient_by_a_kept_c_is_exact(float64):
    cell = LSTMCell(H)
    params, xs, carry, (d_last, d_ys) = problem(cell)
    params = with_bias(cell, params, f=ALWAYS, i=NEVER)
    only_c = d_last._replace(h=jnp.zeros_like(d_last.h)), jnp.zeros_like(d_ys)
    _, (_, _, d_carry) = back(cell, params, xs, carry, only_c)
    np.testing.assert_array_equal(d_carry.c, d_last.c)


def test_a_gru_with_z_1_keeps_h_exactly(float64):
    cell = GRUCell(H)
    params, xs, carry, cotangents = problem(cell)
    (last, _), _ = back(cell, with_bias(cell, params, z=ALWAYS), xs, carry, cotangents)
    np.testing.assert_array_equal(last.h, carry.h)


def test_an_orthogonal_linear_rnn_keeps_the_norm_of_the_gradient(float64):
    cell = LinearRNNCell(H)
    params, xs, carry, (d_last, d_ys) = problem(cell)
    params = params._replace(w_h=jnp.linalg.qr(params.w_h)[0])
    cotangents = d_last, jnp.zeros_like(d_ys)
    _, (_, _, d_carry) = back(cell, params, xs, carry, cotangents)
    assert np.any(d_carry.h != d_last.h)
    norms = (np.linalg.norm(d.h, axis=-1) for d in (d_carry, d_last))
    np.testing.assert_allclose(*norms, rtol=1e-14)


@given(w=st.floats(-2, 2))
def test_a_scalar_linear_rnn_with_weight_w_has_gradient_w_to_the_steps(w):
    with jax.enable_x64(True):
        steps, one = 70, jnp.ones((1, 1))
        params, carry = GatedParams(one, w * one, jnp.zeros(1)), HiddenCarry(h=jnp.zeros(1))
        cotangents = HiddenCarry(h=jnp.ones(1)), jnp.zeros((steps, 1))
        _, (_, d_xs, d_carry) = run_back(
            LinearRNNCell(1), params, jnp.zeros((steps, 1)), carry, cotangents
        )
        powers = w ** np.arange(steps + 1)
        got = np.append(d_xs[::-1, 0], d_carry.h)
        np.testing.assert_allclose(got, powers, rtol=1e-13, atol=np.finfo(float).tiny)


def test_a_relu_rnn_with_identity_weights_adds_positive_inputs_up():
    cell = RNNCell(H, activation="relu")
    params = GatedParams(jnp.eye(H), jnp.eye(H), jnp.zeros(H))
    counts = jnp.arange(60.0).reshape(5, B, H)
    carry, _ = run(cell, params, counts)
    np.testing.assert_array_equal(carry.h, counts.sum(axis=0))


@pytest.mark.parametrize("cell", [RNNCell(H), LSTMCell(H), GRUCell(H)], ids=["rnn", "lstm", "gru"])
def test_large_inputs_give_bounded_outputs_and_finite_gradients(cell, float64):
    params, xs, carry, cotangents = problem(cell)
    carry = jax.tree.map(jnp.zeros_like, carry)
    (_, ys), gradients = back(cell, params, 1e300 * xs, carry, cotangents)
    assert np.all(np.abs(ys) <= 1)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))


def test_a_1d_convolution_equals_a_2d_one_on_images_of_one_row():
    lines, pictures = ConvLSTMCell(2, spatial_axes=1), ConvLSTMCell(2)
    params = lines.init(jax.random.key(0), 3)
    middle = jax.tree.map(lambda w: jnp.stack([0 * w, w, 0 * w]) if w.ndim > 1 else w, params)
    xs = jax.random.normal(jax.random.key(1), (4, 2, 5, 3))
    _, want = unroll(lines, params, xs)
    _, got = unroll(pictures, middle, xs[:, :, None])
    np.testing.assert_allclose(got[:, :, 0], want, atol=1e-6)


def test_an_unbiased_cell_is_the_cell_with_zero_biases():
    cell = unbiased(LSTMCell(3))
    params = cell.init(jax.random.key(0), 2)
    assert params.b is None
    xs = jax.random.normal(jax.random.key(1), (5, 2, 2))
    want = unroll(cell.inner, params._replace(b=jnp.zeros(12)), xs)
    jax.tree.map(np.testing.assert_array_equal, unroll(cell, params, xs), want)


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell, GRUCell, ResetBeforeGRUCell, ConvLSTMCell])
def test_a_cell_without_bias_equals_the_cell_with_zero_biases(kind, float64):
    cell, biased = kind(3, use_bias=False), kind(3)
    params, xs, carry, _ = problem(cell)
    assert params.b is None
    zeros = jax.tree.map(jnp.zeros_like, biased.init(jax.random.key(0), xs.shape[-1]))
    zero_bias = zeros._replace(w_x=params.w_x, w_h=params.w_h)
    got, want = run(cell, params, xs, carry), run(biased, zero_bias, xs, carry)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-13), got, want)


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell, GRUCell, ConvLSTMCell])
def test_kernel_init_and_recurrent_init_initialize_the_matrices(kind):
    def ones(key, shape, dtype):
        return jnp.ones(shape, dtype)

    def twos(key, shape, dtype):
        return jnp.full(shape, 2, dtype)

    cell, plain = kind(3, kernel_init=ones, recurrent_init=twos), kind(3)
    params, default = (each.init(jax.random.key(0), 2) for each in (cell, plain))
    np.testing.assert_array_equal(params.w_x, jnp.ones_like(default.w_x))
    np.testing.assert_array_equal(params.w_h, jnp.full_like(default.w_h, 2))
    assert hash(cell) == hash(kind(3, kernel_init=ones, recurrent_init=twos))


def test_the_activation_of_a_simple_cell_may_be_a_function(float64):
    named, function = RNNCell(H, activation="relu"), RNNCell(H, activation=jax.nn.relu)
    params, xs, carry, _ = problem(named)
    got, want = run(function, params, xs, carry), run(named, params, xs, carry)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_the_receptive_field_of_a_convolution_is_its_kernel(float64):
    cell = ConvLSTMCell(1, kernel_size=3)
    params = problem(cell, features=1).params
    xs = np.zeros((1, 1, 5, 5, 1))
    xs[0, 0, 2, 2] = 1
    ys = run(cell, params, xs)[1] - run(cell, params, 0 * xs)[1]
    seen = np.zeros((5, 5), bool)
    seen[1:4, 1:4] = True
    np.testing.assert_array_equal(ys[0, 0, :, :, 0] != 0, seen)


def test_an_undamped_antisymmetric_matrix_only_rotates_h(float64):
    cell = AntisymmetricRNNCell(H, damping=0.0)
    params, _, carry, _ = problem(cell)
    pushed = cell.mix(params, carry)
    np.testing.assert_allclose((pushed * carry.h).sum(-1), 0, atol=1e-15)


@pytest.mark.parametrize("cell", [MinGRUCell(H), MinLSTMCell(H), RGLRUCell(H)])
def test_a_linear_cell_is_finite_for_large_inputs(cell, float64):
    params, xs, carry, _ = jax.device_get(problem(cell))
    assert np.all(np.isfinite(run(cell, params, 1e5 * xs, carry)[1]))


@pytest.mark.parametrize("logit", [-20.0, 20.0])
@pytest.mark.parametrize("past", [0.0, 1.0], ids=["written", "kept"])
@pytest.mark.parametrize("name", COMPLEMENTARY)
def test_a_gate_and_its_complement_are_exact_where_one_is_tiny(name, past, logit):
    """1 - sigmoid(x) is 0 in float32 for x above 17; sigmoid(-x) has all its digits."""
    cell = CELLS[name].cell
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    gates = len(cell.gates)
    # Every gate but the content has the logit; the content is 1 where the past is 0.
    row = np.full(gates, logit)
    row[cell.gates.index("g" if "g" in cell.gates else "n")] = 1 - past
    if name == "minlstm":
        row[cell.gates.index("i")] = -logit
    b = jnp.repeat(jnp.asarray(row, jnp.float32), cell.hidden_size)
    carry = jax.tree.map(lambda c: c + past, cell.initial_carry(dtype=jnp.float32))

    def memory(dtype):
        as_dtype = jax.tree.map(lambda a: a.astype(dtype), (params._replace(b=b), carry))
        after, _ = cell.step(*as_dtype, jnp.zeros(1, dtype))
        return np.asarray(after[-1])  # The only field, or c.

    got = memory(jnp.float32)
    with jax.enable_x64(True):
        want = memory(jnp.float64)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert got.all()
