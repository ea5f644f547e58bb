"""The cudnn driver: weights as cuDNN takes them, and refusals; its kernels need a GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from rnn_jax import GRUCell, InputError, LSTMCell, unroll, zoneout
from rnn_jax.drivers import cudnn
from rnn_jax.testing.oracle import B, D, T, assert_close, problem, pull_back


def of_reference(x, h, c, weights, lengths, features, size, *rest):
    """`rnn.lstm` by the reference implementation that JAX compares cuDNN with."""
    unpacked = rnn.unpack_lstm_weights(weights, features, size, 1, False)
    return rnn.lstm_ref(x, h, c, *unpacked, lengths, features, size, *rest)


@pytest.fixture
def gpu(monkeypatch):
    """A machine that looks as if it had a GPU, with JAX's reference in place of cuDNN."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(rnn, "lstm", of_reference)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("batch", [(B,), (2, 3)])
def test_values_and_gradients_are_those_of_scan(gpu, batch, use_bias):
    cell = LSTMCell(4, use_bias=use_bias)
    params, xs, carry, cotangents = problem(cell, batch=batch, dtype=np.float32)

    def run(driver):
        return pull_back(
            lambda *given: unroll(cell, given[0], given[1], given[2], driver=driver),
            cotangents,
            params,
            xs,
            carry,
        )

    assert_close(run("cudnn"), run("scan"), 1e-5)


@pytest.mark.parametrize(
    "cell, options, words",
    [
        (GRUCell(3), {}, "needs an LSTMCell .*got GRUCell"),
        (zoneout(LSTMCell(3), 0.1), {}, "got ZoneoutGatedCell"),
        (LSTMCell(3), {"lengths": jnp.full(B, T)}, "got LSTMCell with masks or resets"),
        (LSTMCell(3), {"resets": jnp.ones((T, B), bool)}, "got LSTMCell with masks or resets"),
    ],
)
def test_a_cell_that_does_not_fit_is_one_sentence(gpu, cell, options, words):
    params, xs, carry, _ = problem(cell, dtype=np.float32)
    with pytest.raises(InputError, match=words):
        unroll(cell, params, xs, carry, driver="cudnn", **options)


def test_bfloat16_weights_are_one_sentence(gpu):
    cell = LSTMCell(3)
    params = cell.cast_matrices(cell.init(jax.random.key(0), D), jnp.bfloat16)
    with pytest.raises(InputError, match="needs float32 params, carry and xs, got bfloat16"):
        unroll(cell, params, jnp.ones((T, B, D)), driver="cudnn")


def test_without_a_gpu_the_driver_is_one_sentence():
    cell = LSTMCell(3)
    params = cell.init(jax.random.key(0), D)
    with pytest.raises(InputError, match="needs an NVIDIA GPU, and the default device is a CPU"):
        unroll(cell, params, jnp.ones((T, B, D)), driver="cudnn")
    assert cudnn.packed(params).shape == (rnn.get_num_params_in_lstm(D, 3, 1, False),)
