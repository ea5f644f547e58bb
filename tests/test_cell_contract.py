"""The contract suite for every cell in the table, and runs of random sizes."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from cells import CELLS, every_cell, every_driver
from hypothesis import given, settings
from hypothesis import strategies as st

from rnn_jax.testing import RUN_CHECKS, VALUE_CHECKS, Case
from rnn_jax.testing.oracle import assert_close, places, problem, run
from rnn_jax.wrappers.base import Wrapper


def every_check(checks):
    return pytest.mark.parametrize("check", checks.values(), ids=lambda check: check.__name__)


@every_cell
@every_check(VALUE_CHECKS)
def test_value_checks(cell, check, float64):
    check(Case(cell))


@every_driver
@every_check(RUN_CHECKS)
def test_run_checks(cell, driver, check, float64):
    check(Case(cell, driver))


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
def test_any_sizes_run_whole_or_in_parts(row, steps, batch, features, hidden_size, data):
    driver, split = data.draw(st.sampled_from(row.drivers)), data.draw(st.integers(0, steps))
    with jax.enable_x64(True):
        cell = dataclasses.replace(row.cell, hidden_size=hidden_size)
        params, xs, carry, _ = problem(cell, steps, tuple(batch), features)
        whole = run(cell, params, xs, carry, driver=driver)
        carry, head = run(cell, params, xs[:split], carry, driver=driver)
        carry, tail = run(cell, params, xs[split:], carry, driver=driver)
        assert whole[1].shape == (steps, *batch, *places(cell), cell.output_size)
        assert_close((carry, jnp.concatenate([head, tail])), whole)
