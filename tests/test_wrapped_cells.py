"""Every wrapper around every kind of cell: drivers, outputs, names, and errors."""

import dataclasses
import inspect

import jax
import numpy as np
import pytest

from rnn_jax import (
    Cell,
    ConvLSTMCell,
    GatedCell,
    GRUCell,
    InputError,
    LinearCell,
    LRUCell,
    LSTMCell,
    MinGRUCell,
    ResetBeforeGRUCell,
    RNNCell,
    drop_connect,
    dropout,
    layer_norm,
    learned_carry,
    orthogonal_recurrence,
    unbiased,
    zoneout,
)
from rnn_jax.analysis.covariant_vectors import covariant_vectors
from rnn_jax.analysis.gradient_flow import adjoint_norms
from rnn_jax.analysis.jacobians import long_term_jacobians
from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.testing import drivers_for
from rnn_jax.testing.oracle import D, assert_close, assert_same, problem, run

H = 3
KEY = jax.random.key(0)
WRAPPERS = {
    "dropout": lambda cell: dropout(cell, inputs=0.3),
    "state_dropout": lambda cell: dropout(cell, state=0.3),
    "drop_connect": lambda cell: drop_connect(cell, 0.3),
    "zoneout": lambda cell: zoneout(cell, 0.2),
    "layer_norm": layer_norm,
    "learned_carry": learned_carry,
    "unbiased": unbiased,
}
KINDS = [LSTMCell(H), GRUCell(H), MinGRUCell(H), LRUCell(H), ConvLSTMCell(H)]


def combinations():
    """Each wrapper, each supported kind of cell, and each driver except the reference."""
    for name, wrap in WRAPPERS.items():
        for kind in KINDS:
            try:
                cell = wrap(kind)
            except InputError:
                continue
            for driver in drivers_for(cell)[1:]:
                if driver != "remat":
                    yield pytest.param(cell, driver, id=f"{name}-{type(kind).__name__}-{driver}")


@pytest.mark.parametrize("cell, driver", list(combinations()))
def test_a_wrapped_cell_agrees_between_all_its_drivers(cell, driver, float64):
    params, xs, carry, _ = problem(cell)
    for key in None, KEY:
        want = run(cell, params, xs, carry, key=key, driver="scan")
        assert_close(run(cell, params, xs, carry, key=key, driver=driver), want)


def test_a_linear_cell_with_dropout_is_still_linear():
    assert "associative" in drivers_for(dropout(MinGRUCell(H), inputs=0.3))


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_no_field_of_a_cell_shadows_a_method():
    methods = {
        name
        for kind in (Cell, GatedCell, LinearCell)
        for name, value in vars(kind).items()
        if inspect.isfunction(value)
    }
    hidden = {
        (kind.__name__, field.name)
        for kind in subclasses(Cell)
        for field in dataclasses.fields(kind)
        if field.name in methods
    }
    assert {"state", "mix", "init"} <= methods and not hidden


def test_a_field_that_shadows_a_method_is_an_error_in_the_class():
    with pytest.raises(InputError, match="the field state of Bad hides the method state"):
        type("Bad", (LinearCell,), {"__annotations__": {"state": float}})


def test_layer_norm_of_a_cell_without_bias_starts_with_no_shift():
    params = layer_norm(unbiased(LSTMCell(H))).init(KEY, D)
    assert params.inner.b is None
    np.testing.assert_array_equal(params.shift, np.zeros(4 * H))


@pytest.mark.parametrize("key", [None, KEY], ids=["mean", "drawn"])
@pytest.mark.parametrize(
    "cell",
    [
        *(LSTMCell(H), GRUCell(H), ResetBeforeGRUCell(H), dropout(ResetBeforeGRUCell(H), 0.0)),
        zoneout(ResetBeforeGRUCell(H), 0.1),
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_the_output_of_zoneout_is_h_after_zoneout(cell, key, float64):
    cell = zoneout(cell, 0.4)
    params, xs, carry, _ = problem(cell)
    last, ys = run(cell, params, xs, carry, key=key)
    assert_same(last.h, ys[-1])


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize(
    "given, words",
    [
        (LSTMCell, "got the class LSTMCell; pass LSTMCell(hidden_size)"),
        ("lstm", "ell such as LSTMCell(hidden_size=64), got 'lstm'"),
        (None, "got an object of type NoneType"),
        (GatedCell(H), "GatedCell is incomplete, it does not define gates, update"),
    ],
    ids=["class", "string", "none", "abstract"],
)
@pytest.mark.usefixtures("unchecked")
def test_a_wrapper_without_a_cell_is_an_error(wrap, given, words):
    with pytest.raises(InputError) as error:
        wrap(given)
    assert words in str(error.value)


@pytest.mark.parametrize("wrap", [orthogonal_recurrence, unbiased])
def test_the_analysis_of_a_wrapped_cell_is_that_of_its_inner_cell(wrap, float64):
    cell = wrap(RNNCell(3))
    p = problem(cell, batch=())
    d_carry, d_ys = p.cotangents

    def analyzed(cell, params):
        spectrum = lyapunov_spectrum(cell, params, p.xs)
        jacobians = long_term_jacobians(cell, params, p.xs)
        vectors = covariant_vectors(cell, params, p.xs, burn_in=1)
        norms = adjoint_norms(cell, params, p.xs, d_ys, d_carry)
        return spectrum, jacobians, vectors, norms

    assert_close(analyzed(cell, p.params), analyzed(cell.inner, cell.inner_params(p.params)), 1e-9)
