"""A second eager call with an equal cell and new values of the same shapes compiles nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import every_cell

from rnn_jax import LSTMCell, MinGRUCell, ResetBeforeGRUCell, dropout, learned_carry, unroll
from rnn_jax.testing.case import rebuilt
from rnn_jax.testing.oracle import DRIVERS, B, D, T, drivers_for, problem

MAKERS = {
    "lstm": lambda: LSTMCell(3),
    "gru_reset_before": lambda: ResetBeforeGRUCell(3),
    "mingru": lambda: MinGRUCell(3),
    "wrapped": lambda: learned_carry(dropout(LSTMCell(3), inputs=0.2, state=0.2)),
}

OPTIONS = {
    "none": (),
    "lengths": ("lengths",),
    "mask": ("mask",),
    "resets": ("resets",),
    "reverse": ("reverse", "mask", "resets"),
    "key": ("key",),
    "tbptt_steps": ("tbptt_steps",),
    "tbptt_steps_resets": ("tbptt_steps", "resets"),
}


def options(names, seed):
    """The options of `unroll` by name, with values that depend on the seed."""
    rng = np.random.default_rng(seed)
    values = {
        "lengths": jnp.asarray(rng.integers(0, T + 1, B)),
        "mask": jnp.asarray(rng.random((T, B)) < 0.7),
        "resets": jnp.asarray(rng.random((T, B)) < 0.3),
        "reverse": True,
        "key": jax.random.key(seed),
        "tbptt_steps": 3,
    }
    return {name: values[name] for name in names}


def drivers(name):
    """The drivers that support the cell; Newton's iteration, the slowest, for the LSTM only."""
    return (*drivers_for(MAKERS[name]()), *(["newton"] if name == "lstm" else []))


CASES = [
    pytest.param(name, driver, names, id=f"{name}-{driver}-{words}")
    for name in MAKERS
    for driver in drivers(name)
    for words, names in OPTIONS.items()
]


def loss(given, cell, options):
    """One function object for every call, as in a training script."""
    carry, ys = unroll(cell, *given, **options)
    return jnp.sum(ys**2) + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(carry))


gradient = jax.grad(loss)


@pytest.mark.parametrize("name, driver, names", CASES)
def test_a_second_unroll_and_its_gradient_compile_nothing(name, driver, names, compilations):
    def call(seed):
        cell = MAKERS[name]()
        *given, _ = problem(cell, dtype=jnp.float32, seed=seed)
        chosen = {"driver": DRIVERS[driver], **options(names, seed)}
        before = len(compilations)
        unroll(cell, *given, **chosen)
        gradient(given, cell, chosen)
        return len(compilations) - before

    call(0)
    assert call(1) == 0


@every_cell
def test_a_second_init_with_another_key_compiles_nothing(cell, compilations):
    first, second = jax.random.key(0), jax.random.key(1)
    cell.init(first, D)
    before = len(compilations)
    rebuilt(cell).init(second, D)
    assert len(compilations) == before
