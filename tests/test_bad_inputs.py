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
    assert_error,
    call,
    case,
    classify,
    forward_derivative,
    init,
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
        case("has 5 features", "made for 2", "[T, ..., 2]", "input_size=5", xs=zeros(T, B, 5)),
        case("has 0 features", "made for 2", xs=zeros(T, B, 0)),
        case("[T, ..., D]", "at least 2 dimensions", "xs[None]", "got shape (5,)", xs=zeros(5)),
        case("[T, ..., D]", "at least 2 dimensions", "got shape ()", xs=1.0),
        case("xs", "floating point", "astype('float32')", "got int32", xs=XS.astype(np.int32)),
        case("xs", "floating point", "got bool", xs=XS.astype(bool)),
        case("xs", "floating point", "got complex64", xs=XS.astype(np.complex64)),
        case("xs", "floating point", "got object", xs=XS.astype(object)),
        case("LSTMCarry", "cell.initial_carry(batch_shape)", "got a tuple", carry=(XS, XS)),
        case("LSTMCarry", "got a ndarray", carry=zeros(B, H)),
        case("LSTMCarry", "got a HiddenCarry", carry=HiddenCarry(zeros(B, H))),
        case("array in each field", "other contents", carry=LSTMCarry(None, zeros(B, H))),
        case("carry.c", "(4, 3)", "got (5, 3)", carry=LSTMCarry(zeros(B, H), zeros(5, H))),
        case("carry.h", "(4, 3)", "xs of shape (7, 4, 2)", "got (3,)", carry=CELL.initial_carry()),
        case("integers of shape (4,)", "of shape (3,)", lengths=[1, 2, 3]),
        case("integers of shape (4,)", "of shape (4, 1)", lengths=np.ones((B, 1), int)),
        case("integers of shape (4,)", "of shape ()", lengths=3),
        case("integers of shape (4,)", "got float32", lengths=zeros(B)),
        case("integers of shape (4,)", "got bool", lengths=[True] * B),
        case("integers of shape (4,)", "got object", lengths=[None] * B),
        case("0 to T = 7", "got 0 to 8", lengths=[1, 8, 3, 0]),
        case("0 to T = 7", "got 0 to 1099511627776", lengths=[1, 2**40, 3, 0]),
        case("0 to T = 7", "got -1 to 3", lengths=[1, 2, -1, 3]),
        case("0 to T = 0", "got 0 to 1", xs=XS[:0], lengths=[0, 1, 0, 0]),
        case("real numbers", "complex64", carry=LSTMCarry(zeros(B, H), zeros(B, H) + 1j)),
        case("auto, scan, chunked", "got 'fast'", driver="fast"),
        case("auto, scan, chunked", "got None", driver=None),
        case("auto, scan, chunked", "Chunked(length=8)", "got <class", driver=Chunked),
        case("length must be at most 32", "got 64", xs=zeros(70, B, D), driver=Chunked(64)),
        case("params do not fit LSTMCell", "got None", "cell.init", params=None),
        case("params do not fit", "got LinearParams(w_x", params=MinGRUCell(H).init(KEY, D)),
        case("params do not fit", "w_h [5, 20]", params=LSTMCell(5).init(KEY, D)),
        case("params do not fit", "got dict", params=PARAMS._asdict()),
        case("params do not fit LearnedCarryGatedCell", cell=learned_carry(CELL)),
        case("got LearnedCarryParams", params=learned_carry(CELL).init(KEY, D)),
        case(
            "GatedCell",
            "ResetBeforeGRUCell",
            "'scan'",
            cell=ResetBeforeGRUCell(H),
            params=problem(ResetBeforeGRUCell(H), dtype=np.float32).params,
            driver="chunked",
        ),
    ],
    forward_derivative: [
        case("the chunked driver has no forward-mode", "driver='scan'", driver="chunked"),
        case("the newton driver has no forward-mode", "driver='scan'", driver="newton"),
    ],
    unroll_under_jit: [
        case("integers of shape (4,)", "of shape (3,)", lengths=jnp.array([1, 2, 3])),
        case("integers of shape (4,)", "got float32", lengths=jnp.ones(B)),
    ],
    gate_activations: [
        case("needs a GatedCell, got ResetBeforeGRUCell", cell=ResetBeforeGRUCell(H)),
        case("has no `activations`", "write one", "('h',)", cell=LinearRNNCell(H), params=LINEAR),
        case("xs", "floating point", "got uint8", xs=XS.astype(np.uint8)),
        case("0 to T = 7", "got 0 to 8", lengths=[8, 0, 0, 0]),
    ],
    adjoint_norms: [
        case("has 5 features", "made for 2", xs=zeros(T, B, 5)),
        case("xs", "floating point", "got int32", xs=XS.astype(np.int32)),
        case("d_ys", "(7, 4, 3)", "outputs of unroll", "got (7, 4, 5)", d_ys=zeros(T, B, 5)),
        case("d_ys", "(7, 4, 3)", "got (6, 4, 3)", d_ys=D_YS[1:]),
        case("LSTMCarry", "got a HiddenCarry", d_carry=HiddenCarry(zeros(B, H))),
        case("carry.c", "got (4, 1)", d_carry=LSTMCarry(zeros(B, H), zeros(B, 1))),
        case("carry.h", "(4, 3)", "got (3,)", carry=CELL.initial_carry()),
    ],
    parameter_gradient_norms: [case("d_ys", "(7, 4, 3)", "got (4, 3)", d_ys=zeros(B, H))],
    loss_adjoint_norms: [case("made for 2", "has 1 features", xs=zeros(T, B, 1))],
    LSTMCell: [
        case("hidden_size", "positive integer", "got 0", hidden_size=0),
        case("hidden_size", "got -3", hidden_size=-3),
        case("hidden_size", "got True", hidden_size=True),
        case("hidden_size", "got 2.5", hidden_size=2.5),
        case("hidden_size", "got '3'", hidden_size="3"),
        case("hidden_size", "got None", hidden_size=None),
    ],
    Chunked: [
        case("length must be", "got 0", length=0),
        case("length must be", "got -1", length=-1),
        case("length must be", "got 2.5", length=2.5),
    ],
    Newton: [
        case("max_iterations must be", "got 0", max_iterations=0),
        case("jacobian must be 'full' or 'diagonal'", "got 'dense'", jacobian="dense"),
        case("damping must be a number from 0", "got 1", damping=1),
        case("damping must be a number from 0", "got None", damping=None),
    ],
    RNNCell: [
        case("'tanh', 'relu' or a function", "got 'gelu'", activation="gelu"),
        case("kernel_init must be a function", "got 'normal'", kernel_init="normal"),
        case("recurrent_init must be a function", "got None", recurrent_init=None),
    ],
    init: [
        case("input_size", "positive integer", "got 0", input_size=0),
        case("input_size", "got -1", input_size=-1),
        case("input_size", "got 2.0", input_size=2.0),
        case("jax.random.key(0)", "got 0", key=0),
        case("jax.random.key(0)", "got None", key=None),
        case("one key", "key<fry>[2]", key=jax.random.split(KEY)),
    ],
    inits.Chrono: [
        case("longest must be at least 3 steps", "got 2", longest=2),
        case("longest must be a number", "finite in float32", "got nan", longest=np.nan),
        case("longest must be a number", "got 1e+300", longest=1e300),
        case("longest must be a number", "got '28'", longest="28"),
    ],
    inits.Gain: [case("gain must be a number", "got inf", gain=np.inf)],
    inits.ForgetBias: [case("bias must be a number", "got None", bias=None)],
    adjust: [
        case("bias of the gate that keeps", "names none", init=inits.Chrono(9), cell=RNNCell(H)),
        case("sets b", "dict does not have", init=inits.Chrono(9), params=PARAMS._asdict()),
        case("sets w_h", "tuple does not have", init=inits.Identity(), params=tuple(PARAMS)),
        case("sets w_h", "list does not have", init=inits.Gain(2.0), params=[PARAMS]),
        case("sets w_h", "choose another initializer", "NoneType does not have", params=None),
        case("jax.random.key(0)", "got 1", key=1),
    ],
    classify: [
        case("has 5 features", xs=zeros(T, B, 5)),
        case("num_classes", "0", num_classes=0),
        case("num_classes", "2.5", num_classes=2.5),
        case("projection_size", "-1", projection_size=-1),
        case("projection_size", "None", projection_size=None),
        case("input_size", "got 0", input_size=0),
        case("input_size", "got 0", input_size=0, projection_size=4),
        case("'carry', 'outputs' or 'mean'", "got 'last'", readout="last"),
        case("readout='mean'", "at least one step", readout="mean", xs=XS[:0]),
        case("auto, scan, chunked", "got 'fast'", driver="fast"),
        case("dtype", "int32", dtype=jnp.int32),
        case("outputs", "at least one step", readout="outputs", xs=XS[:0]),
    ],
    to_sequences: [
        case("uint8 [N, 28, 28]", "got uint8 [28, 28]", images=IMAGES[0]),
        case("uint8 [N, 28, 28]", "got uint8 [4, 28, 28, 1]", images=IMAGES[..., None]),
        case("uint8 [N, 28, 28]", "got uint8 [4, 28, 14]", images=IMAGES[:, :, ::2]),
        case("uint8 [N, 28, 28]", "need no conversion", "got bool", images=IMAGES > 0),
        case("rows, pixels, permuted-pixels", "got None", order=None),
    ],
    check_sequences: [
        case("[N, T, D]", "got []", xs=None),
        case("xs must be floats", "got <U1", xs=zeros(3, 5, 2, dtype=str)),
        case("xs must be floats", "got complex128", xs=zeros(3, 5, 2, dtype=complex)),
        case("labels must be integers [N]", "got object []", labels=None),
        case("labels must be integers [N]", "got bool [3]", labels=[True, False, True]),
        case("labels must be in [0, 3)", "at labels[2]", labels=np.array([0, 1, 2**63], "u8")),
        case("labels must be in [0, 0)", "got 3", num_classes=0),
    ],
    BatchOrder: [
        case("a batch of 9", "at most 8", "data set of 8", batch_size=9),
        case("batch", "got 0", batch_size=0),
        case("batch", "got -1", batch_size=-1),
    ],
    StreamOrder: [
        case("batch_size", "got 0", batch_size=0),
        case("num_windows", "got 2.5", num_windows=2.5),
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
    assert_error(words, call, function, **changes)


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)
