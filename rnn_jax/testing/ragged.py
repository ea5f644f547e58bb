"""Claims about a cell that runs over sequences of different lengths."""

import jax
import numpy as np

from rnn_jax.testing.case import Claims, told, zeros_like
from rnn_jax.testing.oracle import B, T, assert_close, assert_same, ensure, loop_back

CLAIMS = Claims()

LENGTHS = np.array([0, 3, 7, 5], np.int32)
PADDING = np.arange(T)[:, None] >= LENGTHS


def each_alone(cell, params, xs, carry, cotangents):
    """Values and gradients as a sum of turns: in each, one sequence counts and runs its length."""
    turns = []
    for turn, length in enumerate(LENGTHS):

        def mine(tree, axis, turn=turn):
            def pick(leaf):
                chosen = (np.arange(B) == turn).reshape(B, *(1,) * (leaf.ndim - axis - 1))
                return leaf * chosen

            return jax.tree.map(pick, tree)

        def padded(array, length=length):
            return np.pad(array, ((0, T - length), *((0, 0),) * (array.ndim - 1)))

        d_last, d_ys = cotangents
        cotangent = mine(d_last, 0), mine(d_ys[:length], 1)
        (last, ys), (d_params, d_xs, d_carry) = loop_back(
            cell, params, xs[:length], carry, cotangent
        )
        values = mine(last, 0), padded(mine(ys, 1))
        turns.append((values, (d_params, padded(d_xs), d_carry)))
    return jax.tree.map(lambda *parts: sum(parts), *turns)


@CLAIMS.add
def with_lengths_each_sequence_runs_as_if_alone(case):
    """No example of a batch sees another one."""
    given = case.problem()
    got = case.back(*given, lengths=LENGTHS)
    assert_close(told(*got), told(*each_alone(case.cell, *given)))


@CLAIMS.add
def nan_in_padding_reaches_neither_values_nor_gradients(case):
    """No example of a batch sees another one."""
    params, xs, carry, (d_last, d_ys) = case.problem()

    def fill(value):
        x, d_y = xs.copy(), d_ys.copy()
        x[PADDING] = d_y[PADDING] = value
        return told(*case.back(params, x, carry, (d_last, d_y), lengths=LENGTHS))

    assert_same(fill(np.nan), fill(0))


@CLAIMS.add
def padding_has_zero_outputs_and_exactly_zero_gradients(case):
    """Past its end a sequence says nothing and hears nothing."""
    (_, ys), (_, d_xs, _) = case.back(*case.problem(), lengths=LENGTHS)
    got = {"ys in padding": ys[PADDING], "the gradient by padding": d_xs[PADDING]}
    assert_same(got, zeros_like(got))
    ensure(np.any(d_xs[~PADDING]), "the gradient by what is no padding is zero too")


@CLAIMS.add
def length_zero_returns_the_carry_given_and_its_cotangent(case):
    """A sequence without steps leaves the carry as it is."""
    params, xs, carry, (d_last, d_ys) = case.problem()
    got = case.back(params, xs, carry, (d_last, d_ys), lengths=np.zeros_like(LENGTHS))
    assert_same(told(*got), told((carry, zeros_like(d_ys)), (*zeros_like((params, xs)), d_last)))


@CLAIMS.add
def full_lengths_change_nothing(case):
    """A sequence of T steps is one without padding."""
    given = case.problem()
    full = case.back(*given, lengths=np.full_like(LENGTHS, T))
    assert_close(told(*full), told(*case.back(*given)))
