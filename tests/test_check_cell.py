"""`check_cell` names the failed checks of a broken cell and passes a correct one."""

import numpy as np
import pytest
from broken_cells import BROKEN, PlainCarry

from rnn_jax import HiddenCarry, InputError, LSTMCell, MinimalGatedCell, ResetBeforeGRUCell
from rnn_jax.testing import CHECKS, VALUE_CHECKS, ContractError, check_cell
from rnn_jax.testing.oracle import assert_close, assert_same, drivers_for

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: type(broken.cell).__name__)
def test_failed_checks_are_named(broken):
    with pytest.raises(ContractError) as caught:
        check_cell(broken.cell, drivers=broken.drivers)
    message = str(caught.value)
    assert repr(broken.cell) in message
    for words in broken.words:
        assert words in message


def test_run_checks_are_skipped_if_value_checks_fail():
    with pytest.raises(ContractError) as caught:
        check_cell(PlainCarry(2))
    failed = [line for line in str(caught.value).splitlines() if line.startswith("- ")]
    assert all(any(name in line for name in VALUE_CHECKS) for line in failed)
    assert "were skipped" in str(caught.value)


def test_a_correct_cell_passes_at_other_sizes_too():
    assert check_cell(MinimalGatedCell(5), drivers=["chunked"], features=1) == tuple(CHECKS)


def test_a_cell_with_only_a_step_is_checked_with_scan():
    assert drivers_for(ResetBeforeGRUCell(2)) == ("scan",)
    assert drivers_for(LSTMCell(2)) == ("scan", "chunked", "remat")


@pytest.mark.parametrize(
    "words, arguments",
    [
        ("needs a cell", {"cell": LSTMCell}),
        ("supports the drivers scan; got 'chunked'", {"cell": ResetBeforeGRUCell(2)}),
        ("features must be a positive integer", {"cell": LSTMCell(2), "features": 0}),
    ],
)
def test_invalid_arguments_are_errors(words, arguments):
    with pytest.raises(InputError, match=words):
        check_cell(**{"drivers": ("chunked",), **arguments})


@pytest.mark.parametrize("check", [assert_close, assert_same])
def test_differences_are_named_largest_first(check):
    want = {"a": np.zeros(3), "b": HiddenCarry(np.zeros((2, 2))), "c": np.zeros(1)}
    got = {"a": np.array([0, 0.5, 0]), "b": HiddenCarry(np.full((2, 2), -2.0)), "c": np.ones(1)}
    check(want, want)
    with pytest.raises(AssertionError) as caught:
        check(got, want)
    assert str(caught.value) == "b.h is off by up to 2; c is off by up to 1; 1 more"


@pytest.mark.parametrize(
    "words, got",
    [
        ("is off by up to nan", np.array([np.nan, 0])),
        ("has shape", np.zeros(3)),
        ("tree", (np.zeros(2),)),
        ("float32, expected float64", np.zeros(2, np.float32)),
    ],
)
def test_nan_shape_tree_and_dtype_differences_are_found(words, got):
    with pytest.raises(AssertionError, match=words):
        assert_same(got, np.zeros(2))
