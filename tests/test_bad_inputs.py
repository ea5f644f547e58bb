"""Errors for wrong inputs: expected, got, what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H, LinearRNNCell
from mistakes import (
    CELL,
    D_YS,
    IMAGES,
    KEY,
    LINEAR,
    PARAMS,
    XS,
    adjust,
    assert_told,
    call,
    classify,
    forward_derivative,
    init,
    told,
    unroll_under_jit,
    zeros,
)

from rnn_jax import (
    Chunked,
    HiddenCarry,
    InputError,
    LSTMCarry,
    LSTMCell,
    MinGRUCell,
    Newton,
    ResetBeforeGRUCell,
    RNNCell,
    gate_activations,
    learned_carry,
    unroll,
)
from rnn_jax import initializers as inits
from rnn_jax.analysis.gradient_flow import (
    adjoint_norms,
    loss_adjoint_norms,
    parameter_gradient_norms,
)
from rnn_jax.datasets.image_data import check_sequences, to_sequences
from rnn_jax.testing.oracle import B, D, T, problem
from rnn_jax.training.batches import BatchOrder, StreamOrder

pytestmark = pytest.mark.usefixtures("unchecked")

TABLE = {
    unroll: [
        told("has 5 features", "made for 2", "[T, ..., 2]", "input_size=5", xs=zeros(T, B, 5)),
        told("has 0 features", "made for 2", xs=zeros(T, B, 0)),
        told("[T, ..., D]", "at least 2 dimensions", "xs[None]", "got shape (5,)", xs=zeros(5)),
        told("[T, ..., D]", "at least 2 dimensions", "got shape ()", xs=1.0),
        told("xs", "floating point", "astype('float32')", "got int32", xs=XS.astype(np.int32)),
        told("xs", "floating point", "got bool", xs=XS.astype(bool)),
        told("xs", "floating point", "got complex64", xs=XS.astype(np.complex64)),
        told("xs", "floating point", "got object", xs=XS.astype(object)),
        told("LSTMCarry", "cell.initial_carry(batch_shape)", "got a tuple", carry=(XS, XS)),
        told("LSTMCarry", "got a ndarray", carry=zeros(B, H)),
        told("LSTMCarry", "got a HiddenCarry", carry=HiddenCarry(zeros(B, H))),
        told("array in each field", "other contents", carry=LSTMCarry(None, zeros(B, H))),
        told("carry.c", "(4, 3)", "got (5, 3)", carry=LSTMCarry(zeros(B, H), zeros(5, H))),
        told("carry.h", "(4, 3)", "xs of shape (7, 4, 2)", "got (3,)", carry=CELL.initial_carry()),
        told("whole numbers of shape (4,)", "of shape (3,)", lengths=[1, 2, 3]),
        told("whole numbers of shape (4,)", "of shape (4, 1)", lengths=np.ones((B, 1), int)),
        told("whole numbers of shape (4,)", "of shape ()", lengths=3),
        told("whole numbers of shape (4,)", "got float32", lengths=zeros(B)),
        told("whole numbers of shape (4,)", "got bool", lengths=[True] * B),
        told("whole numbers of shape (4,)", "got object", lengths=[None] * B),
        told("0 to T = 7", "got 0 to 8", lengths=[1, 8, 3, 0]),
        told("0 to T = 7", "got 0 to 1099511627776", lengths=[1, 2**40, 3, 0]),
        told("0 to T = 7", "got -1 to 3", lengths=[1, 2, -1, 3]),
        told("0 to T = 0", "got 0 to 1", xs=XS[:0], lengths=[0, 1, 0, 0]),
        told("real numbers", "complex64", carry=LSTMCarry(zeros(B, H), zeros(B, H) + 1j)),
        told("auto, scan, chunked", "got 'fast'", driver="fast"),
        told("auto, scan, chunked", "got None", driver=None),
        told("auto, scan, chunked", "Chunked(length=8)", "got <class", driver=Chunked),
        told("length must be at most 32", "got 64", xs=zeros(70, B, D), driver=Chunked(64)),
        told("params do not fit LSTMCell", "got None", "cell.init", params=None),
        told("params do not fit", "got LinearParams(w_x", params=MinGRUCell(H).init(KEY, D)),
        told("params do not fit", "w_h [5, 20]", params=LSTMCell(5).init(KEY, D)),
        told("params do not fit", "got dict", params=PARAMS._asdict()),
        told("params do not fit LearnedCarryGatedCell", cell=learned_carry(CELL)),
        told("got LearnedCarryParams", params=learned_carry(CELL).init(KEY, D)),
        told(
            "GatedCell",
            "ResetBeforeGRUCell",
            "'scan'",
            cell=ResetBeforeGRUCell(H),
            params=problem(ResetBeforeGRUCell(H), dtype=np.float32).params,
            driver="chunked",
        ),
    ],
    forward_derivative: [
        told("the chunked driver has no forward-mode", "driver='scan'", driver="chunked"),
        told("the newton driver has no forward-mode", "driver='scan'", driver="newton"),
    ],
    unroll_under_jit: [
        told("whole numbers of shape (4,)", "of shape (3,)", lengths=jnp.array([1, 2, 3])),
        told("whole numbers of shape (4,)", "got float32", lengths=jnp.ones(B)),
    ],
    gate_activations: [
        told("needs a GatedCell, got ResetBeforeGRUCell", cell=ResetBeforeGRUCell(H)),
        told("has no `activations`", "write one", "('h',)", cell=LinearRNNCell(H), params=LINEAR),
        told("xs", "floating point", "got uint8", xs=XS.astype(np.uint8)),
        told("0 to T = 7", "got 0 to 8", lengths=[8, 0, 0, 0]),
    ],
    adjoint_norms: [
        told("has 5 features", "made for 2", xs=zeros(T, B, 5)),
        told("xs", "floating point", "got int32", xs=XS.astype(np.int32)),
        told("d_ys", "(7, 4, 3)", "outputs of unroll", "got (7, 4, 5)", d_ys=zeros(T, B, 5)),
        told("d_ys", "(7, 4, 3)", "got (6, 4, 3)", d_ys=D_YS[1:]),
        told("LSTMCarry", "got a HiddenCarry", d_carry=HiddenCarry(zeros(B, H))),
        told("carry.c", "got (4, 1)", d_carry=LSTMCarry(zeros(B, H), zeros(B, 1))),
        told("carry.h", "(4, 3)", "got (3,)", carry=CELL.initial_carry()),
    ],
    parameter_gradient_norms: [told("d_ys", "(7, 4, 3)", "got (4, 3)", d_ys=zeros(B, H))],
    loss_adjoint_norms: [told("made for 2", "has 1 features", xs=zeros(T, B, 1))],
    LSTMCell: [
        told("hidden_size", "positive whole number", "got 0", hidden_size=0),
        told("hidden_size", "got -3", hidden_size=-3),
        told("hidden_size", "got True", hidden_size=True),
        told("hidden_size", "got 2.5", hidden_size=2.5),
        told("hidden_size", "got '3'", hidden_size="3"),
        told("hidden_size", "got None", hidden_size=None),
    ],
    Chunked: [
        told("length must be", "got 0", length=0),
        told("length must be", "got -1", length=-1),
        told("length must be", "got 2.5", length=2.5),
    ],
    Newton: [told("max_iterations must be", "got 0", max_iterations=0)],
    RNNCell: [
        told("'tanh', 'relu' or a function", "got 'gelu'", activation="gelu"),
        told("kernel_init must be a function", "got 'normal'", kernel_init="normal"),
        told("recurrent_init must be a function", "got None", recurrent_init=None),
    ],
    init: [
        told("input_size", "positive whole number", "got 0", input_size=0),
        told("input_size", "got -1", input_size=-1),
        told("input_size", "got 2.0", input_size=2.0),
        told("jax.random.key(0)", "got 0", key=0),
        told("jax.random.key(0)", "got None", key=None),
        told("one key", "key<fry>[2]", key=jax.random.split(KEY)),
    ],
    inits.Chrono: [
        told("longest must be at least 3 steps", "got 2", longest=2),
        told("longest must be a number", "finite in float32", "got nan", longest=np.nan),
        told("longest must be a number", "got 1e+300", longest=1e300),
        told("longest must be a number", "got '28'", longest="28"),
    ],
    inits.Gain: [told("gain must be a number", "got inf", gain=np.inf)],
    inits.ForgetBias: [told("bias must be a number", "got None", bias=None)],
    adjust: [
        told("bias of the gate that keeps", "names none", init=inits.Chrono(9), cell=RNNCell(H)),
        told("sets b", "dict does not have", init=inits.Chrono(9), params=PARAMS._asdict()),
        told("sets w_h", "tuple does not have", init=inits.Identity(), params=tuple(PARAMS)),
        told("sets w_h", "list does not have", init=inits.Gain(2.0), params=[PARAMS]),
        told("sets w_h", "choose another initializer", "NoneType does not have", params=None),
        told("jax.random.key(0)", "got 1", key=1),
    ],
    classify: [
        told("has 5 features", xs=zeros(T, B, 5)),
        told("num_classes", "0", num_classes=0),
        told("num_classes", "2.5", num_classes=2.5),
        told("projection_size", "-1", projection_size=-1),
        told("projection_size", "None", projection_size=None),
        told("input_size", "got 0", input_size=0),
        told("input_size", "got 0", input_size=0, projection_size=4),
        told("'carry' or 'outputs'", "got 'mean'", readout="mean"),
        told("auto, scan, chunked", "got 'fast'", driver="fast"),
        told("dtype", "int32", dtype=jnp.int32),
        told("outputs", "at least one step", readout="outputs", xs=XS[:0]),
    ],
    to_sequences: [
        told("uint8 [N, 28, 28]", "got uint8 [28, 28]", images=IMAGES[0]),
        told("uint8 [N, 28, 28]", "got uint8 [4, 28, 28, 1]", images=IMAGES[..., None]),
        told("uint8 [N, 28, 28]", "got uint8 [4, 28, 14]", images=IMAGES[:, :, ::2]),
        told("uint8 [N, 28, 28]", "need no conversion", "got bool", images=IMAGES > 0),
        told("rows, pixels, permuted-pixels", "got None", order=None),
    ],
    check_sequences: [
        told("[N, T, D]", "got []", xs=None),
        told("xs must be floats", "got <U1", xs=zeros(3, 5, 2, dtype=str)),
        told("xs must be floats", "got complex128", xs=zeros(3, 5, 2, dtype=complex)),
        told("labels must be integers [N]", "got object []", labels=None),
        told("labels must be integers [N]", "got bool [3]", labels=[True, False, True]),
        told("labels must be in [0, 3)", "at labels[2]", labels=np.array([0, 1, 2**63], "u8")),
        told("labels must be in [0, 0)", "got 3", num_classes=0),
    ],
    BatchOrder: [
        told("a batch of 9", "at most 8", "data set of 8", batch_size=9),
        told("batch", "got 0", batch_size=0),
        told("batch", "got -1", batch_size=-1),
    ],
    StreamOrder: [
        told("batch_size", "got 0", batch_size=0),
        told("num_windows", "got 2.5", num_windows=2.5),
    ],
}


@pytest.mark.parametrize(
    "function, words, changes",
    [
        pytest.param(function, *row, id=f"{function.__name__}-{row[0][-1]}")
        for function, rows in TABLE.items()
        for row in rows
    ],
)
def test_a_wrong_input_is_an_input_error(function, words, changes):
    assert_told(words, call, function, **changes)


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)
