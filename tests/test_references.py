"""The named cells against equations written again from their papers."""

import jax
import numpy as np
import pytest
from cells import H

from rnn_jax import GRUCell, HiddenCarry, LSTMCarry, LSTMCell, RNNCell, gate_activations
from rnn_jax.testing.oracle import assert_close, problem, run_back

pytestmark = pytest.mark.usefixtures("float64")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_gate(params, gates):
    """The weights of each gate on their own: input matrix, recurrent matrix, bias."""
    parts = (np.split(np.asarray(w), len(gates), axis=-1) for w in params[:3])
    return dict(zip(gates, zip(*parts, strict=True), strict=True))


def named(gates, seen):
    """The values of each gate over time, by its name."""
    return dict(zip(gates, np.swapaxes(seen, 0, 1), strict=True))


def elman(activation):
    """Elman (1990): the hidden units see the input and their own last values."""

    def reference(params, xs, carry):
        w, u, b = (np.asarray(array) for array in params)
        (h,), hs = carry, []
        for x in xs:
            h = activation(x @ w + h @ u + b)
            hs.append(h)
        return HiddenCarry(h), np.array(hs), {}

    return reference


def hochreiter_gers(params, xs, carry):
    """Hochreiter, Schmidhuber (1997) with the forget gate of Gers et al. (2000)."""
    weights = by_gate(params, "ifgo")
    (h, c), hs, seen = carry, [], []
    for x in xs:
        net = {gate: x @ w + h @ u + b for gate, (w, u, b) in weights.items()}
        i, f, o = sigmoid(net["i"]), sigmoid(net["f"]), sigmoid(net["o"])
        g = np.tanh(net["g"])
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
        seen.append((i, f, g, o))
    return LSTMCarry(h, c), np.array(hs), named("ifgo", seen)


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


REFERENCES = [
    pytest.param(RNNCell(H), elman(np.tanh), id="rnn_tanh"),
    pytest.param(RNNCell(H, activation="relu"), elman(lambda x: np.maximum(x, 0)), id="rnn_relu"),
    pytest.param(LSTMCell(H), hochreiter_gers, id="lstm"),
    pytest.param(GRUCell(H), cho, id="gru"),
]


@pytest.mark.parametrize("cell, reference", REFERENCES)
def test_a_cell_equals_the_equations_of_its_paper(cell, reference):
    params, xs, carry, cotangents = problem(cell)
    got, _ = run_back(cell, params, xs, carry, cotangents, driver="chunked")
    last, ys, _ = reference(params, np.asarray(xs), jax.tree.map(np.asarray, carry))
    assert_close(got, (last, ys))


@pytest.mark.parametrize("cell, reference", REFERENCES[2:])
def test_gate_activations_are_the_gates_in_the_equations(cell, reference):
    params, xs, carry, _ = problem(cell)
    *_, gates = reference(params, np.asarray(xs), jax.tree.map(np.asarray, carry))
    got = gate_activations(cell, params, xs, carry)
    assert tuple(got) == cell.gates
    assert_close(got, gates)
