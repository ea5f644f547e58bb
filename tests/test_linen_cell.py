"""Any cell as a linen cell: what `nn.RNN` makes of it is what `unroll` makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
from cells import flowing_cell, telling_cell
from flax import linen as nn

from rnn_jax.interop import LinenCell
from rnn_jax.testing.oracle import B, D, T, assert_close, problem, run

LENGTHS = jnp.array([T, 2, 4, 1])


def as_rnn(cell, **options):
    return nn.RNN(LinenCell(cell), time_major=True, return_carry=True, **options)


def flipped(xs):
    """Each sequence of `LENGTHS` from its end, the padding where it was."""
    t = np.arange(T)[:, None]
    return xs[np.where(t < LENGTHS, LENGTHS - 1 - t, t), np.arange(B)]


@flowing_cell
def test_linen_runs_a_cell_as_unroll_does(cell, float64):
    params, xs, carry, _ = problem(cell)
    variables = {"params": {"cell": {"weights": params}}}
    got = jax.jit(as_rnn(cell).apply)(variables, xs, initial_carry=carry)
    assert_close(got, run(cell, params, xs, carry))


@flowing_cell
def test_linen_draws_the_parameters_of_the_cell_and_starts_from_its_carry(cell):
    xs = jnp.ones((T, B, D))
    got, variables = as_rnn(cell).init_with_output(jax.random.key(0), xs)
    params = variables["params"]["cell"]["weights"]
    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), D))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, like)
    assert_close(got, run(cell, params, xs), tolerance=1e-6)


@telling_cell
def test_linen_masks_and_reverses_a_cell(cell, float64):
    params, xs, carry, _ = problem(cell)
    rnn = as_rnn(cell, reverse=True, keep_order=True)
    variables = {"params": {"cell": {"weights": params}}}
    last, ys = rnn.apply(variables, xs, initial_carry=carry, seq_lengths=LENGTHS)
    want_last, want_ys = run(cell, params, flipped(xs), carry, lengths=LENGTHS)
    inside = (np.arange(T)[:, None] < LENGTHS)[..., None]
    assert_close((last, inside * ys), (want_last, inside * flipped(want_ys)))
