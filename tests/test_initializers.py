"""How parameters start."""

import jax
import numpy as np
import pytest
from cells import H

from rnn_jax import GRUCell, LSTMCell
from rnn_jax.initializers import orthogonal_per_gate, per_gate
from rnn_jax.testing.oracle import D, assert_same

KEY = jax.random.key(0)
with_an_init_of_its_own = pytest.mark.parametrize("cell", [LSTMCell(H), GRUCell(H)])


@with_an_init_of_its_own
def test_recurrent_weights_are_orthogonal_gate_by_gate(cell):
    w_h = np.array(cell.init(KEY, D).w_h)
    for block in np.split(w_h, len(cell.gates), axis=1):
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-6)


@with_an_init_of_its_own
def test_parameters_are_a_function_of_the_key(cell):
    params = cell.init(KEY, D)
    assert_same(cell.init(KEY, D), params)
    other = cell.init(jax.random.key(1), D)
    assert not np.any(other.w_x == params.w_x)
    assert not np.any(other.w_h == params.w_h)


def test_each_gate_is_drawn_from_a_key_of_its_own():
    w_h = np.array(orthogonal_per_gate(KEY, H, 4))
    assert len(np.unique(w_h)) == w_h.size


def test_each_gate_is_drawn_as_a_matrix_of_its_own():
    asked = []

    def init(key, shape, dtype):
        asked.append((shape, dtype))
        return jax.numpy.ones(shape, dtype)

    assert per_gate(init, KEY, rows=5, hidden_size=2, gates=3).shape == (5, 6)
    assert set(asked) == {((5, 2), jax.numpy.float32)}


@pytest.mark.parametrize("forget_bias", [0.0, 1.0, -2.5])
def test_the_bias_of_an_lstm_is_the_forget_bias_for_f_and_zero_elsewhere(forget_bias):
    b = LSTMCell(H, forget_bias=forget_bias).init(KEY, D).b
    np.testing.assert_array_equal(b, np.repeat([0, forget_bias, 0, 0], H))


def test_both_biases_of_a_gru_are_zero():
    params = GRUCell(H).init(KEY, D)
    np.testing.assert_array_equal(params.b, np.zeros(3 * H))
    np.testing.assert_array_equal(params.b_h, np.zeros(H))
