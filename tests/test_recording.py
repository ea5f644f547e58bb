"""Recordings of carries and gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from apart import MASK, RESETS

from rnn_jax import (
    ConvLSTMCell,
    GatedCell,
    HiddenCarry,
    LSTMCell,
    MinGRUCell,
    ResetBeforeGRUCell,
    dropout,
    gate_activations,
    unroll_carries,
    zoneout,
)
from rnn_jax.analysis.recording import has_activations
from rnn_jax.testing.oracle import assert_close, problem, run

pytestmark = pytest.mark.usefixtures("float64")

each_way = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


class WithoutActivations(GatedCell):
    """A gated cell that does not implement `activations`."""

    gates = ("f",)

    def update(self, params, carry, x_gates, h_gates):
        return HiddenCarry(h=x_gates + h_gates)


@each_way
@pytest.mark.parametrize(
    "cell",
    [LSTMCell(2), ResetBeforeGRUCell(2), ConvLSTMCell(1)],
    ids=["lstm", "step", "conv"],
)
def test_carries_are_those_of_runs_of_every_length(cell, reverse):
    params, xs, carry, _ = problem(cell, features=1)
    given = {"mask": jnp.asarray(MASK), "resets": jnp.asarray(RESETS), "reverse": reverse}
    got = jax.device_get(unroll_carries(cell, params, xs, carry, **given))
    times = np.arange(len(xs))[:, None]
    for t in range(len(xs)):
        so_far = MASK & (times >= t if reverse else times <= t)
        last, _ = run(cell, params, xs, carry, driver="scan", **given | {"mask": so_far})
        counts = MASK[t].reshape(-1, *(1,) * (xs.ndim - 2))
        here = jax.tree.map(lambda c, t=t: c[t], got)
        assert_close(here, jax.tree.map(lambda c, counts=counts: counts * c, last))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [(LSTMCell(2), True), (WithoutActivations(2), False), (ResetBeforeGRUCell(2), False)],
    ids=["activations", "none", "not_gated"],
)
def test_a_wrapper_has_the_activations_of_its_inner_cell(cell, expected):
    assert has_activations(cell) is expected
    assert has_activations(zoneout(dropout(cell, inputs=0.1), 0.1)) is expected


@each_way
def test_gate_activations_are_in_the_order_of_the_inputs(reverse):
    cell = MinGRUCell(2)
    params, xs, *_ = problem(cell)
    whole = gate_activations(cell, params, xs)
    got = gate_activations(cell, params, xs, mask=jnp.asarray(MASK), reverse=reverse)
    assert_close(got, jax.tree.map(lambda gate: gate * MASK[..., None], whole))
