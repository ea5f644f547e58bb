"""`LinenCell` in `nn.RNN`, compared with `unroll` of the cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import flowing_cell, telling_cell
from flax import linen as nn

from rnn_jax import (
    ConvLSTMCell,
    InputError,
    LSTMCell,
    ResetBeforeGRUCell,
    dropout,
    layer_norm,
    learned_carry,
)
from rnn_jax.interop import LinenCell
from rnn_jax.testing.oracle import B, D, T, assert_close, problem, run

LENGTHS = jnp.array([T, 2, 4, 1])


def as_rnn(cell, **options):
    return nn.RNN(LinenCell(cell), time_major=True, return_carry=True, **options)


def flipped(xs):
    """Reverse each sequence of `LENGTHS`, without its padding."""
    t = np.arange(T)[:, None]
    return xs[np.where(t < LENGTHS, LENGTHS - 1 - t, t), np.arange(B)]


@flowing_cell
def test_nn_rnn_equals_unroll(cell, float64):
    params, xs, carry, _ = problem(cell)
    variables = {"params": {"cell": {"weights": params}}}
    got = jax.jit(as_rnn(cell).apply)(variables, xs, initial_carry=carry)
    assert_close(got, run(cell, params, xs, carry))


@flowing_cell
def test_init_uses_the_parameters_and_start_of_the_cell(cell):
    xs = jnp.ones((T, B, D))
    got, variables = as_rnn(cell).init_with_output(jax.random.key(0), xs)
    params = variables["params"]["cell"]["weights"]
    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), D))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, like)
    assert_close(got, run(cell, params, xs), tolerance=1e-6)


@telling_cell
def test_lengths_and_reverse_equal_unroll(cell, float64):
    params, xs, carry, _ = problem(cell)
    rnn = as_rnn(cell, reverse=True, keep_order=True)
    variables = {"params": {"cell": {"weights": params}}}
    last, ys = rnn.apply(variables, xs, initial_carry=carry, seq_lengths=LENGTHS)
    want_last, want_ys = run(cell, params, flipped(xs), carry, lengths=LENGTHS)
    inside = (np.arange(T)[:, None] < LENGTHS)[..., None]
    assert_close((last, inside * ys), (want_last, inside * flipped(want_ys)))


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("axes", [1, 2])
def test_a_convolutional_cell_runs_over_the_time_axis(axes, time_major, float64):
    cell = ConvLSTMCell(2, spatial_axes=axes)
    params, xs, *_ = problem(cell)
    rnn = nn.RNN(LinenCell(cell), time_major=time_major, return_carry=True)
    variables = {"params": {"cell": {"weights": params}}}
    last, ys = rnn.apply(variables, xs if time_major else jnp.swapaxes(xs, 0, 1))
    assert_close((last, ys if time_major else jnp.swapaxes(ys, 0, 1)), run(cell, params, xs))


@pytest.mark.parametrize(
    "cell",
    [
        *(learned_carry(LSTMCell(3)), learned_carry(ResetBeforeGRUCell(3))),
        layer_norm(learned_carry(LSTMCell(3))),
    ],
    ids=["gated", "step", "nested"],
)
def test_a_learned_carry_is_the_initial_carry(cell, float64):
    params, xs, *_ = problem(cell)
    variables = {"params": {"cell": {"weights": params}}}
    assert_close(jax.jit(as_rnn(cell).apply)(variables, xs), run(cell, params, xs))
    last, _ = as_rnn(cell).apply(variables, xs, seq_lengths=LENGTHS)
    assert_close(last, run(cell, params, xs, lengths=LENGTHS)[0])
    ways = (nn.RNN(LinenCell(cell), time_major=True) for _ in range(2))
    both = nn.Bidirectional(*ways, time_major=True)
    weights = {"cell": {"weights": params}}
    ys = both.apply({"params": {"forward_rnn": weights, "backward_rnn": weights}}, xs)
    assert_close(ys[..., : cell.output_size], run(cell, params, xs)[1])
    got, variables = as_rnn(cell).init_with_output(jax.random.key(0), xs)
    assert_close(got, run(cell, variables["params"]["cell"]["weights"], xs))


def test_a_learned_carry_outside_apply_is_an_error():
    with pytest.raises(InputError, match=r"pass cell\.start"):
        LinenCell(learned_carry(LSTMCell(3))).initialize_carry(jax.random.key(0), (B, D))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_carry_dtype_follows_64_bit_inputs(dtype, float64):
    cell = LSTMCell(3)
    params, xs, *_ = problem(cell, dtype=dtype)
    got = as_rnn(cell).apply({"params": {"cell": {"weights": params}}}, xs)
    assert_close(got, run(cell, params, xs), 1e-12 if dtype == jnp.float64 else 1e-6)


def test_a_noisy_cell_runs_without_noise_and_rejects_a_key():
    cell = dropout(LSTMCell(3), 0.5)
    params, xs, *_ = problem(cell, dtype=jnp.float32)
    variables = {"params": {"cell": {"weights": params}}}
    assert_close(as_rnn(cell).apply(variables, xs), run(cell, params, xs), 1e-6)
    with pytest.raises(InputError, match="cannot sample the noise of DropoutGatedCell"):
        as_rnn(cell).apply(variables, xs, rngs={"dropout": jax.random.key(0)})
