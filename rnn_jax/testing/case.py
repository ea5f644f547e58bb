"""Helpers of the checks: a cell with its driver, named results and type assertions."""

import dataclasses
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells.base import Cell
from rnn_jax.testing.oracle import D, ensure, problem, run, run_back


class Case(NamedTuple):
    """A cell, the name of its driver or None, and the number of its input features."""

    cell: Cell
    driver: str | None = None
    features: int = D

    def problem(self, **sizes):
        """A `problem` for the cell as NumPy arrays, so that using it triggers no compilation."""
        return jax.device_get(problem(self.cell, features=self.features, **sizes))

    def run(self, params, xs, carry):
        """`run` with this cell and driver."""
        return run(self.cell, params, xs, carry, driver=self.driver)

    def back(self, params, xs, carry, cotangents, lengths=None):
        """`run_back` with this cell and driver."""
        given = params, xs, carry, cotangents
        return run_back(self.cell, *given, lengths=lengths, driver=self.driver)


class Checks(dict[str, Callable[[Case], None]]):
    """Checks by name: functions of a `Case` that raise if the property does not hold."""

    def add(self, check):
        """Register `check`, named after the property, with a hint as its docstring."""
        self[check.__name__.replace("_", " ")] = check
        return check


def named_results(values, gradients=()):
    """The results of a run as a dictionary with descriptive names."""
    inputs = "params", "xs", "carry"
    names = "the final carry", "ys", *(f"the gradient wrt {name}" for name in inputs)
    return dict(zip(names, (*values, *gradients), strict=False))


def zeros_like(tree):
    """Zeros with the shapes and dtypes of a tree."""
    return jax.tree.map(np.zeros_like, tree)


def as_type(dtype, tree):
    """Cast all leaves of a tree to a dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def assert_types(dtype, tree, what):
    """Raise AssertionError unless the tree has leaves and all have `dtype`."""
    got = sorted({leaf.dtype.name for leaf in jax.tree.leaves(tree)})
    want = jnp.dtype(dtype).name
    ensure(got == [want], f"{what} has {' and '.join(got) or 'no arrays'}, expected {want}")


def assert_named_tuple(value, what):
    """Raise AssertionError unless `value` is a named tuple."""
    named = isinstance(value, tuple) and hasattr(value, "_fields")
    ensure(named, f"{what} is a {type(value).__name__}, not a named tuple")


def rebuilt(value: Any) -> Any:
    """An equal value made of new objects, as if its expression were evaluated again."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{n: rebuilt(getattr(value, n)) for n in names})
    return value if callable(value) else deepcopy(value)
