"""What the claims share: a cell with the way it is run, and words for what comes out."""

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
    """A cell, the driver it runs with, if it is to run, and the number of its input features."""

    cell: Cell
    driver: str | None = None
    features: int = D

    def problem(self, **sizes):
        """A problem for the cell, in NumPy: what is done with it compiles nothing."""
        return jax.device_get(problem(self.cell, features=self.features, **sizes))

    def run(self, params, xs, carry):
        """`run` with cell and driver."""
        return run(self.cell, params, xs, carry, driver=self.driver)

    def back(self, params, xs, carry, cotangents, lengths=None):
        """`run_back` with cell and driver."""
        given = params, xs, carry, cotangents
        return run_back(self.cell, *given, lengths=lengths, driver=self.driver)


class Claims(dict[str, Callable[[Case], None]]):
    """Claims by their words, the name of the function that raises where one does not hold."""

    def add(self, check):
        """A decorator: `check` is one of these claims, its docstring what to do about it."""
        self[check.__name__.replace("_", " ")] = check
        return check


def told(values, gradients=()):
    """The results of a run in a dictionary that says in words what is what."""
    words = "the final carry", "ys", *(f"the gradient by {of}" for of in ("params", "xs", "carry"))
    return dict(zip(words, (*values, *gradients), strict=False))


def zeros_like(tree):
    """Zeros of the shapes and types of a tree."""
    return jax.tree.map(np.zeros_like, tree)


def as_type(dtype, tree):
    """A tree in another dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def assert_types(dtype, tree, what):
    """AssertionError about `what` unless there are leaves and all are of `dtype`."""
    got = sorted({leaf.dtype.name for leaf in jax.tree.leaves(tree)})
    want = jnp.dtype(dtype).name
    ensure(got == [want], f"{what} has {' and '.join(got) or 'no arrays'}, expected {want}")


def assert_named_tuple(value, what):
    """AssertionError about `what` unless its fields have names."""
    named = isinstance(value, tuple) and hasattr(value, "_fields")
    ensure(named, f"{what} is a {type(value).__name__}, no named tuple")


def made_anew(value: Any) -> Any:
    """An equal value of other objects, as the same line of code run twice makes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{n: made_anew(getattr(value, n)) for n in names})
    return value if callable(value) else deepcopy(value)
