"""Gated cells, compared with the equations of their papers."""

import jax
import numpy as np
import pytest
from cells import H
from equations import EQUATIONS, by_gate, named, sigmoid
from matrix_equations import MATRIX_EQUATIONS

from rnn_jax import (
    CoupledLSTMCell,
    GRUCell,
    HiddenCarry,
    IndRNNCell,
    LSTMCarry,
    LSTMCell,
    MinimalGatedCell,
    PeepholeLSTMCell,
    ProjectedLSTMCell,
    ResetBeforeGRUCell,
    RNNCell,
    SLSTMCell,
    UGRNNCell,
    gate_activations,
)
from rnn_jax.testing.oracle import B, D, T, assert_close, problem, run

pytestmark = pytest.mark.usefixtures("float64")


def nets(params, gates, x, h):
    """The inputs of each gate from the input and from the last output."""
    return {gate: x @ w + h @ u + b for gate, (w, u, b) in by_gate(params, gates).items()}


def elman(activation):
    """Elman (1990): hidden units depend on the input and their last values."""

    def reference(params, xs, carry):
        w, u, b = (np.asarray(array) for array in params)
        (h,), hs = carry, []
        for x in xs:
            h = activation(x @ w + h @ u + b)
            hs.append(h)
        return HiddenCarry(h), np.array(hs), {}

    return reference


def li(params, xs, carry):
    """Li et al. (2018): each unit has one recurrent weight, from itself."""
    w, u, b = (np.asarray(array) for array in params)
    (h,), hs = carry, []
    for x in xs:
        h = np.array([np.tanh(x @ w[:, n] + u[n] * h[:, n] + b[n]) for n in range(H)]).T
        hs.append(h)
    return HiddenCarry(h), np.array(hs), {}


def hochreiter_gers(params, xs, carry):
    """Hochreiter, Schmidhuber (1997) with the forget gate of Gers et al. (2000)."""
    (h, c), hs, seen = carry, [], []
    for x in xs:
        net = nets(params, "ifgo", x, h)
        i, f, o = sigmoid(net["i"]), sigmoid(net["f"]), sigmoid(net["o"])
        g = np.tanh(net["g"])
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
        seen.append((i, f, g, o))
    return LSTMCarry(h, c), np.array(hs), named("ifgo", seen)


def gers_schraudolph(params, xs, carry):
    """Gers et al. (2002): i and f depend on the old c, o on the new one."""
    (h, c), hs, seen, (p_i, p_f, p_o) = carry, [], [], np.asarray(params.p)
    for x in xs:
        net = nets(params, "ifgo", x, h)
        i, f = sigmoid(net["i"] + p_i * c), sigmoid(net["f"] + p_f * c)
        g = np.tanh(net["g"])
        c = f * c + i * g
        o = sigmoid(net["o"] + p_o * c)
        h = o * np.tanh(c)
        hs.append(h)
        seen.append((i, f, g, o))
    return LSTMCarry(h, c), np.array(hs), named("ifgo", seen)


def sak(params, xs, carry):
    """Sak et al. (2014): gates and outputs depend on r = W_rm m, m = o tanh(c)."""
    (m, c), rs, seen, w_rm = carry, [], [], np.asarray(params.w_p)
    r = m @ w_rm
    for x in xs:
        net = nets(params, "ifgo", x, r)
        i, f, o = sigmoid(net["i"]), sigmoid(net["f"]), sigmoid(net["o"])
        g = np.tanh(net["g"])
        c = f * c + i * g
        m = o * np.tanh(c)
        r = m @ w_rm
        rs.append(r)
        seen.append((i, f, g, o))
    return LSTMCarry(m, c), np.array(rs), named("ifgo", seen)


def greff(params, xs, carry):
    """Greff et al. (2017), CIFG: input and forget gate sum to one."""
    (h, c), hs, seen = carry, [], []
    for x in xs:
        net = nets(params, "fgo", x, h)
        f, g, o = sigmoid(net["f"]), np.tanh(net["g"]), sigmoid(net["o"])
        c = f * c + (1 - f) * g
        h = o * np.tanh(c)
        hs.append(h)
        seen.append((f, g, o))
    return LSTMCarry(h, c), np.array(hs), named("fgo", seen)


def cho(params, xs, carry):
    """Cho et al. (2014), the reset gate after the product and with a bias inside it."""
    weights = by_gate(params, "rzn")
    (w_r, u_r, b_r), (w_z, u_z, b_z), (w_n, u_n, b_n) = (weights[gate] for gate in "rzn")
    (h,), hs, seen = carry, [], []
    for x in xs:
        r = sigmoid(x @ w_r + h @ u_r + b_r)
        z = sigmoid(x @ w_z + h @ u_z + b_z)
        n = np.tanh(x @ w_n + b_n + r * (h @ u_n + np.asarray(params.b_h)))
        h = z * h + (1 - z) * n
        hs.append(h)
        seen.append((r, z, n))
    return HiddenCarry(h), np.array(hs), named("rzn", seen)


def cho_as_published(params, xs, carry):
    """Cho et al. (2014): the reset gate before the product."""
    weights = by_gate(params, "rzn")
    (w_r, u_r, b_r), (w_z, u_z, b_z), (w_n, u_n, b_n) = (weights[gate] for gate in "rzn")
    (h,), hs = carry, []
    for x in xs:
        r = sigmoid(x @ w_r + h @ u_r + b_r)
        z = sigmoid(x @ w_z + h @ u_z + b_z)
        h = z * h + (1 - z) * np.tanh(x @ w_n + (r * h) @ u_n + b_n)
        hs.append(h)
    return HiddenCarry(h), np.array(hs), {}


def zhou(params, xs, carry):
    """Zhou et al. (2016), the one gate after the product."""
    (w_f, u_f, b_f), (w_n, u_n, b_n) = by_gate(params, "fn").values()
    (h,), hs, seen = carry, [], []
    for x in xs:
        f = sigmoid(x @ w_f + h @ u_f + b_f)
        n = np.tanh(x @ w_n + f * (h @ u_n) + b_n)
        h = (1 - f) * h + f * n
        hs.append(h)
        seen.append((f, n))
    return HiddenCarry(h), np.array(hs), named("fn", seen)


def collins(params, xs, carry):
    """Collins et al. (2017): the gate chooses between the last state and the new content."""
    (h,), hs, seen = carry, [], []
    for x in xs:
        net = nets(params, "zn", x, h)
        z, n = sigmoid(net["z"]), np.tanh(net["n"])
        h = z * h + (1 - z) * n
        hs.append(h)
        seen.append((z, n))
    return HiddenCarry(h), np.array(hs), named("zn", seen)


REFERENCES = [
    pytest.param(RNNCell(H), elman(np.tanh), id="rnn_tanh"),
    pytest.param(RNNCell(H, activation="relu"), elman(lambda x: np.maximum(x, 0)), id="rnn_relu"),
    pytest.param(IndRNNCell(H, activation="tanh"), li, id="indrnn"),
    pytest.param(ResetBeforeGRUCell(H), cho_as_published, id="gru_reset_before"),
    pytest.param(LSTMCell(H), hochreiter_gers, id="lstm"),
    pytest.param(PeepholeLSTMCell(H), gers_schraudolph, id="peephole"),
    pytest.param(ProjectedLSTMCell(H, projection=2), sak, id="projected"),
    pytest.param(CoupledLSTMCell(H), greff, id="coupled"),
    pytest.param(GRUCell(H), cho, id="gru"),
    pytest.param(MinimalGatedCell(H), zhou, id="minimal"),
    pytest.param(UGRNNCell(H), collins, id="ugrnn"),
    *EQUATIONS,
    *MATRIX_EQUATIONS,
]
WITHOUT_GATES = "rnn_tanh", "rnn_relu", "gru_reset_before", "antisymmetric", "cornn", "lru"
WITHOUT_GATES += "conv_lstm", "conv_lstm_of_one_place", "indrnn", "ctrnn", "lem", "lmu", "s5"
GATED = [row for row in REFERENCES if row.id not in WITHOUT_GATES]


@pytest.mark.parametrize("cell, reference", REFERENCES)
def test_a_cell_equals_the_equations_of_its_paper(cell, reference):
    params, xs, carry, _ = jax.device_get(problem(cell))
    assert_close(run(cell, params, xs, carry), reference(params, xs, carry)[:2])


@pytest.mark.parametrize("cell, reference", GATED)
def test_gate_activations_are_the_gates_in_the_equations(cell, reference):
    params, xs, carry, _ = given = problem(cell)
    got = gate_activations(cell, params, xs, carry)
    assert tuple(got) == cell.gates
    assert_close(got, reference(*jax.device_get(given[:3]))[2])


def beck(params, xs):
    """Beck et al. (2024): sLSTM without stabilization, from zeros: h, c, n."""
    h = c = n = np.zeros((B, H))
    hs = []
    for x in xs:
        net = nets(params, "ifgo", x, h)
        i, f, o = np.exp(net["i"]), sigmoid(net["f"]), sigmoid(net["o"])
        c = f * c + i * np.tanh(net["g"])
        n = f * n + i
        h = o * c / n
        hs.append(h)
    return (h, c, n), np.array(hs)


def test_an_slstm_equals_its_unstabilized_equations():
    cell = SLSTMCell(H)
    params, xs, *_ = jax.device_get(problem(cell))
    last, ys = run(cell, params, xs)
    scale = np.exp(last.m)
    assert_close(((last.h, last.c * scale, last.n * scale), ys), beck(params, xs))


def test_an_slstm_stays_finite_when_its_exponentials_overflow():
    cell = SLSTMCell(H)
    params = problem(cell).params
    xs = 1e4 * np.random.default_rng(0).normal(size=(T, B, D))
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.all(np.isfinite(beck(params, xs)[1]))
    assert np.all(np.abs(run(cell, params, xs)[1]) <= 1)
