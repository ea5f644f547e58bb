"""Errors of the converters: unsupported options, mismatched parameters, missing libraries."""

import sys

import jax
import pytest
from cells import H, LinearRNNCell
from flax import linen as nn
from flax import nnx

from rnn_jax import GRUCell, InputError, LSTMCell, RNNCell
from rnn_jax.interop import (
    LinenCell,
    from_keras,
    from_linen,
    from_torch,
    to_keras,
    to_linen,
    to_torch,
)
from rnn_jax.testing.oracle import D

pytestmark = pytest.mark.usefixtures("unchecked")


def pair(cell, input_size=D):
    return cell, cell.init(jax.random.key(0), input_size)


def refused(words, f, *arguments):
    with pytest.raises(InputError) as error:
        f(*arguments)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("LSTM", {"proj_size": 2}, "LSTM has proj_size=2, which no cell here supports"),
        ("GRU", {"num_layers": 2, "dropout": 0.5}, "only dropout=0 can be converted"),
        ("GRUCell", {}, "expected one of RNN, GRU, LSTM, got GRUCell"),
    ],
)
def test_unsupported_pytorch_layers_are_errors(name, options, words):
    torch = pytest.importorskip("torch")
    refused(words, from_torch, getattr(torch.nn, name)(D, H, **options))


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("GRU", {"reset_after": False}, "GRUCell has reset_after=False"),
        ("LSTM", {"recurrent_activation": "hard_sigmoid"}, "only recurrent_activation=sigmoid"),
        ("LSTM", {"activation": "relu"}, "LSTMCell has activation=relu"),
        ("SimpleRNN", {"activation": "gelu"}, "only activation=tanh or relu"),
        ("LSTM", {"dropout": 0.5}, "dropout=0.5"),
        ("LSTM", {"recurrent_dropout": 0.5}, "recurrent_dropout=0.5"),
        ("GRU", {"go_backwards": True}, "GRU has go_backwards=True"),
        ("GRU", {"stateful": True}, "GRU has stateful=True"),
        ("GRU", {}, "has no weights yet"),
        ("LSTM", {"dtype": "mixed_bfloat16"}, "LSTM computes gates and state in bfloat16"),
        ("GRU", {"dtype": "mixed_float16"}, "computes gates and state in float16"),
        ("LSTM", {"kernel_constraint": "non_neg"}, "LSTMCell has kernel_constraint="),
        ("LSTM", {"recurrent_regularizer": "l2"}, "only recurrent_regularizer=None can be"),
        ("Dense", {}, "expected one of SimpleRNN"),
    ],
)
def test_unsupported_keras_layers_are_errors(name, options, words):
    keras = pytest.importorskip("keras")
    refused(words, from_keras, getattr(keras.layers, name)(H, **options))


@pytest.mark.parametrize(
    "module, words",
    [
        (nn.SimpleCell(H, residual=True), "SimpleCell has residual=True"),
        (nn.SimpleCell(H, activation_fn=nn.gelu), "only activation_fn=tanh or relu"),
        (nn.GRUCell(H, gate_fn=nn.hard_sigmoid), "gate_fn=hard_sigmoid"),
        (nn.LSTMCell(H, activation_fn=nn.relu), "only activation_fn=tanh"),
        (nn.GRUCell(H, carry_init=nn.initializers.ones), "carry_init=ones"),
        (nn.MGUCell(H), "expected one of SimpleCell"),
        (
            nn.GRUCell(H, dtype="bfloat16"),
            "computes gates and state in bfloat16 and has",
        ),
        (nn.GRUCell(H, dtype="float16"), "computes gates and state in float16"),
        (nnx.LSTMCell(D, H, rngs=nnx.Rngs(0)), "got flax.nnx.nn.recurrent.LSTMCell"),
        (nn.LSTMCell(H), "params of LSTMCell must have ii, if, ig, io, hi, hf, hg, ho"),
        (nn.GRUCell(H + 1), "GRUCell(hidden_size=4, use_bias=True) needs GRUParams"),
    ],
)
def test_unsupported_linen_cells_are_errors(module, words):
    refused(words, from_linen, module, to_linen(*pair(GRUCell(H)))[1])


@pytest.mark.parametrize("out", [to_keras, to_linen, lambda *pair: to_torch([[pair]])])
def test_unsupported_cells_and_mismatched_params_are_errors(out):
    pytest.importorskip("torch"), pytest.importorskip("keras")
    refused(
        "expected one of RNNCell, GRUCell, LSTMCell, got LinearRNN", out, *pair(LinearRNNCell(H))
    )
    refused(
        "GRUCell(hidden_size=3, use_bias=True) needs GRUParams",
        out,
        GRUCell(H),
        pair(LSTMCell(H))[1],
    )
    refused("got tuple", out, GRUCell(H), tuple(pair(GRUCell(H))[1]))
    refused("got NoneType", out, GRUCell(H), None)
    cell, params = pair(GRUCell(H))
    mixed = cell.cast_matrices(params, "bfloat16")
    refused("one dtype to be converted, got ['bfloat16', 'float32']", out, cell, mixed)


@pytest.mark.parametrize(
    "pairs, words",
    [
        ([], "expects pairs[layer][direction]"),
        (pair(LSTMCell(H)), "pass [[(cell, params)]]"),
        ([pair(LSTMCell(H))], "pass [[(cell, params)]]"),
        ([[pair(LSTMCell(H, use_bias=False))]], "has no bias"),
        ([[pair(RNNCell(H, activation=jax.numpy.sin))]], "has a function as activation"),
        ([[pair(LSTMCell(H))] * 3], "1 or 2 directions"),
        ([[pair(LSTMCell(H))] * 2, [pair(LSTMCell(H), 2 * H)]], "1 or 2 directions"),
        ([[pair(LSTMCell(H))], [pair(GRUCell(H), H)]], "layer 1 must have cells LSTMCell"),
        ([[pair(LSTMCell(H))] * 2, [pair(LSTMCell(H), H)] * 2], "with D = 6 in float32"),
        ([[pair(RNNCell(H)), pair(RNNCell(H, activation="relu"))]], "got RNNCell(hidden_size=3, a"),
    ],
)
def test_pairs_that_do_not_fit_one_pytorch_layer_are_errors(pairs, words):
    pytest.importorskip("torch")
    refused(words, to_torch, pairs)


@pytest.mark.parametrize("name, f", [("torch", from_torch), ("keras", from_keras)])
def test_a_missing_library_error_names_the_install_command(name, f, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    refused(f"install it with `pip install {name}`", f, None)


def test_linen_cell_needs_a_cell():
    refused("LinenCell expects a Cell, e.g. LSTMCell(64), got GRUCell", LinenCell, nn.GRUCell(H))
