"""Masked steps and episodes within a sequence equal separate runs."""

import jax
import numpy as np
import pytest
from apart import MASK, RESETS, each_apart

from rnn_jax import (
    ConvLSTMCell,
    LRUCell,
    LSTMCell,
    MinGRUCell,
    ResetBeforeGRUCell,
    layer_norm,
    learned_carry,
)
from rnn_jax.testing.oracle import assert_close, assert_same, problem, run_back

pytestmark = pytest.mark.usefixtures("float64")

LSTM = LSTMCell(2)
STEP = learned_carry(ResetBeforeGRUCell(2))
BOTH = {"mask": MASK, "resets": RESETS}
each_way = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
each_driver = pytest.mark.parametrize("driver", ["scan", "chunked"])


def str_of(options):
    return "-".join(options)


def name(cell):
    return type(cell).__name__


def assert_apart(cell, driver, **options):
    point = problem(cell, features=1)
    got = run_back(cell, *point, driver=driver, **options)
    assert_close(got, each_apart(cell, *point, **options))


@each_way
@pytest.mark.parametrize(
    "cell, driver",
    [(LSTM, "scan"), (LSTM, "chunked"), (STEP, "scan"), (ConvLSTMCell(1), "chunked")],
    ids=["lstm-scan", "lstm-chunked", "step-plain", "conv-chunked"],
)
def test_each_episode_equals_a_separate_run_without_masked_steps(cell, driver, reverse):
    assert_apart(cell, driver, **BOTH, reverse=reverse)


def test_a_mask_without_resets_removes_steps():
    assert_apart(LSTM, "chunked", mask=MASK, reverse=True)


@each_driver
def test_resets_without_a_mask_separate_episodes(driver):
    assert_apart(LSTM, driver, resets=RESETS)


def test_all_episodes_start_from_a_learned_carry_and_train_it():
    assert_apart(learned_carry(LSTM), "chunked", resets=RESETS)


@each_way
@pytest.mark.parametrize("options", [{"mask": MASK}, {"resets": RESETS}, BOTH], ids=str_of)
@pytest.mark.parametrize("cell", [MinGRUCell(2), layer_norm(learned_carry(LRUCell(2)))], ids=name)
def test_the_associative_driver_takes_masks_and_resets(cell, options, reverse):
    assert_apart(cell, "associative", **options, reverse=reverse)


def test_nan_of_an_episode_reaches_no_other_episode():
    cell = MinGRUCell(2)
    params, xs, carry, cotangents = problem(cell, features=1)
    starts = np.arange(len(xs)) == 3
    resets = np.broadcast_to(starts[:, None], xs.shape[:2])
    for broken, others in ((slice(3), slice(3, None)), (slice(3, None), slice(3))):
        bad = xs.at[broken].set(np.nan)
        got, want = (
            run_back(cell, params, given, carry, cotangents, driver="associative", resets=resets)
            for given in (bad, xs)
        )
        assert_same(got[0][1][others], want[0][1][others])
        assert_same(got[1][1][others], want[1][1][others])


@each_way
def test_resets_past_the_end_of_a_sequence_are_ignored(reverse):
    point, lengths = problem(LSTM, features=1), np.array([4, 0, 7, 3], np.int32)
    how = {"driver": "chunked", "reverse": reverse, "resets": RESETS}
    got = run_back(LSTM, *point, lengths=lengths, **how)
    within = np.arange(len(RESETS))[:, None] < lengths
    want = each_apart(LSTM, *point, mask=within, resets=RESETS, reverse=reverse)
    assert_close(got, want)


@each_driver
def test_a_nan_carry_reset_at_the_first_step_has_no_effect(driver):
    params, xs, carry, cotangents = problem(LSTM, features=1)
    resets = RESETS.copy()
    resets[0] = True

    def started(value):
        changed = jax.tree.map(lambda c: c * 0 + value, carry)
        given = params, xs, changed, cotangents
        return run_back(LSTM, *given, driver=driver, resets=resets)

    got = started(np.nan)
    assert_same(got, started(0.0))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(got[1][2]))


@each_driver
def test_nan_in_one_episode_does_not_reach_the_others(driver):
    params, xs, carry, (d_last, d_ys) = jax.device_get(problem(LSTM, features=1))
    resets = np.zeros_like(RESETS)
    resets[[2, 4]] = True
    poisoned = xs.copy()
    poisoned[2:4] = np.nan
    (last, ys), (_, d_xs, d_carry) = run_back(
        LSTM, params, xs, carry, (d_last, d_ys), driver=driver, resets=resets
    )
    (got_last, got_ys), (_, got_xs, got_carry) = run_back(
        LSTM, params, poisoned, carry, (d_last, d_ys), driver=driver, resets=resets
    )
    others = [0, 1, 4, 5, 6]
    assert_same(
        (got_last, got_ys[others], got_xs[others], got_carry),
        (last, ys[others], d_xs[others], d_carry),
    )


def test_nan_at_a_masked_step_has_no_effect():
    params, xs, carry, (d_last, d_ys) = jax.device_get(problem(LSTM, features=1))
    gaps = ~MASK[..., None]

    def filled(value):
        given = params, np.where(gaps, value, xs), carry, (d_last, np.where(gaps, value, d_ys))
        return run_back(LSTM, *given, driver="chunked", reverse=False, **BOTH)

    assert_same(filled(np.nan), filled(0.0))
