"""Checks of running a cell over sequences of different lengths."""

import jax
import numpy as np

from rnn_jax.testing.case import Checks, named_results, zeros_like
from rnn_jax.testing.oracle import B, T, assert_close, assert_same, ensure, loop_back

CHECKS = Checks()

LENGTHS = np.array([0, 3, 7, 5], np.int32)
PADDING = np.arange(T)[:, None] >= LENGTHS


def each_alone(cell, params, xs, carry, cotangents):
    """Values and gradients as a sum over sequences, each run alone up to its length."""
    parts = []
    for index, length in enumerate(LENGTHS):

        def only(tree, axis, index=index):
            def pick(leaf):
                chosen = (np.arange(B) == index).reshape(B, *(1,) * (leaf.ndim - axis - 1))
                return leaf * chosen

            return jax.tree.map(pick, tree)

        def padded(array, length=length):
            return np.pad(array, ((0, T - length), *((0, 0),) * (array.ndim - 1)))

        d_last, d_ys = cotangents
        cotangent = only(d_last, 0), only(d_ys[:length], 1)
        (last, ys), (d_params, d_xs, d_carry) = loop_back(
            cell, params, xs[:length], carry, cotangent
        )
        values = only(last, 0), padded(only(ys, 1))
        parts.append((values, (d_params, padded(d_xs), d_carry)))
    return jax.tree.map(lambda *leaves: sum(leaves), *parts)


@CHECKS.add
def with_lengths_each_sequence_equals_a_run_alone(case):
    """Do not mix examples of a batch."""
    given = case.problem()
    got = case.back(*given, lengths=LENGTHS)
    assert_close(named_results(*got), named_results(*each_alone(case.cell, *given)))


@CHECKS.add
def nan_in_padding_does_not_reach_values_or_gradients(case):
    """Do not mix examples of a batch."""
    params, xs, carry, (d_last, d_ys) = case.problem()

    def fill(value):
        x, d_y = xs.copy(), d_ys.copy()
        x[PADDING] = d_y[PADDING] = value
        return named_results(*case.back(params, x, carry, (d_last, d_y), lengths=LENGTHS))

    assert_same(fill(np.nan), fill(0))


@CHECKS.add
def padding_has_zero_outputs_and_exactly_zero_gradients(case):
    """Do not use inputs past the end of a sequence."""
    (_, ys), (_, d_xs, _) = case.back(*case.problem(), lengths=LENGTHS)
    got = {"ys in padding": ys[PADDING], "the gradient wrt padding": d_xs[PADDING]}
    assert_same(got, zeros_like(got))
    ensure(np.any(d_xs[~PADDING]), "the gradient wrt valid steps is zero too")


@CHECKS.add
def length_zero_returns_the_initial_carry_and_its_cotangent(case):
    """Leave the carry of a sequence without valid steps unchanged."""
    params, xs, carry, (d_last, d_ys) = case.problem()
    got = case.back(params, xs, carry, (d_last, d_ys), lengths=np.zeros_like(LENGTHS))
    assert_same(
        named_results(*got),
        named_results((carry, zeros_like(d_ys)), (*zeros_like((params, xs)), d_last)),
    )


@CHECKS.add
def full_lengths_equal_no_lengths(case):
    """Treat a sequence of length T as one without padding."""
    given = case.problem()
    full = case.back(*given, lengths=np.full_like(LENGTHS, T))
    assert_close(named_results(*full), named_results(*case.back(*given)))
