"""The contract suite for every cell in the table, and runs of random sizes."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from cells import CELLS, TELLING
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.testing import RUN_CHECKS, VALUE_CHECKS, Case
from rnn_jax.testing.oracle import assert_close, places, problem, run
from rnn_jax.wrappers.base import Wrapper

CORE = {
    "values_and_gradients_equal_those_of_a_python_loop",
    "two_halves_equal_the_whole_sequence",
    "outputs_before_t_do_not_depend_on_inputs_from_t_on",
    "the_gradient_of_y_t_wrt_later_inputs_is_exactly_zero",
    "gradients_agree_with_finite_differences",
    "an_equal_cell_and_new_values_do_not_recompile",
}
"""Checks that share one compilation; the fast tests run them for every cell."""
IN_FULL = (*TELLING, "mingru")
"""Rows for which the fast tests run every check under every driver."""


def case(name, check, *driver, core):
    """A parameter set, marked slow unless it is part of the fast tests."""
    marks = () if core or name in IN_FULL else pytest.mark.slow
    words = "-".join((name, *driver, check.__name__))
    return pytest.param(CELLS[name].cell, *driver, check, id=words, marks=marks)


VALUE_CASES = [
    case(name, check, core=check.__name__ != "no_two_arrays_share_a_buffer")
    for name in CELLS
    for check in VALUE_CHECKS.values()
]
RUN_CASES = [
    case(name, check, driver, core=driver == row.drivers[0] and check.__name__ in CORE)
    for name, row in CELLS.items()
    for driver in row.drivers
    for check in RUN_CHECKS.values()
]


@pytest.mark.parametrize("cell, check", VALUE_CASES)
def test_value_checks(cell, check, float64):
    check(Case(cell))


@pytest.mark.parametrize("cell, driver, check", RUN_CASES)
def test_run_checks(cell, driver, check, float64):
    check(Case(cell, driver))


def test_the_core_checks_are_checks():
    assert {check.__name__ for check in RUN_CHECKS.values()} >= CORE


def test_cells_of_different_rows_differ():
    assert len({row.cell for row in CELLS.values()}) == len(CELLS)


@settings(max_examples=8)
@given(
    row=st.sampled_from([r for r in CELLS.values() if not isinstance(r.cell, Wrapper)]),
    steps=st.integers(0, 9),
    batch=st.lists(st.integers(0, 3), max_size=2),
    features=st.integers(1, 3),
    hidden_size=st.integers(1, 4),
    data=st.data(),
)
def test_runs_of_random_sizes_equal_runs_in_parts(row, steps, batch, features, hidden_size, data):
    driver, split = data.draw(st.sampled_from(row.drivers)), data.draw(st.integers(0, steps))
    hidden_size *= getattr(row.cell, "heads", 1)
    with jax.enable_x64(True):
        cell = dataclasses.replace(row.cell, hidden_size=hidden_size)
        params, xs, carry, _ = problem(cell, steps, tuple(batch), features)
        whole = run(cell, params, xs, carry, driver=driver)
        carry, head = run(cell, params, xs[:split], carry, driver=driver)
        carry, tail = run(cell, params, xs[split:], carry, driver=driver)
        assert whole[1].shape == (steps, *batch, *places(cell), cell.output_size)
        assert_close((carry, jnp.concatenate([head, tail])), whole)
