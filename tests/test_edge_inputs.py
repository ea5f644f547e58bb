"""Unusual but valid arguments give the values of the usual ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H
from mistakes import (
    CELL,
    D_YS,
    IMAGES,
    PARAMS,
    XS,
    adjust,
    call,
    classify,
    init,
    unroll_under_jit,
    zeros,
)

from rnn_jax import Chunked, LSTMCarry, gate_activations, unroll
from rnn_jax.analysis import gradient_flow as flow
from rnn_jax.datasets.image_data import to_sequences
from rnn_jax.testing.oracle import B, D, T, assert_close

pytestmark = pytest.mark.usefixtures("unchecked")

OLD_KEY = jax.random.PRNGKey(0)
NONE = LSTMCarry(zeros(B, H), zeros(B, H))
NO_GRADS = jax.tree.map(jnp.zeros_like, PARAMS)
DOUBLE = jax.tree.map(lambda p: np.asarray(p, np.float64), PARAMS)


def rewired(array):
    """The same numbers with another order of axes in memory."""
    return array.swapaxes(0, 1).copy().swapaxes(0, 1)


def of_sequence(which):
    """Final carry and outputs of the usual call, for one sequence or several."""
    carry, ys = call(unroll)
    return jax.tree.map(lambda c: c[which], carry), ys[:, which]


def one_step():
    carry, y = CELL.step(PARAMS, CELL.initial_carry((B,)), XS[0])
    return carry, y[None]


def nan_from(t):
    carry, ys = call(unroll)
    return jax.tree.map(lambda c: c * np.nan, carry), ys.at[t:].set(np.nan)


def no_norms(carry, xs):
    """The adjoint norms of a loss that depends on nothing."""
    nothing = np.full(carry, -np.inf, np.float32)
    return flow.AdjointNorms(LSTMCarry(nothing, nothing), np.full(xs, -np.inf, np.float32))


def odd(name, want=None, **changes):
    """A table row: name, expected value (by default that of the usual call), and the call."""
    return name, want, changes


TABLE = {
    unroll: [
        odd("float64", xs=XS.astype(np.float64)),
        odd("float16", xs=XS.astype(np.float16)),
        odd("bfloat16", xs=jnp.asarray(XS, jnp.bfloat16)),
        odd("Fortran order", xs=np.asfortranarray(XS)),
        odd("batch first in memory", xs=rewired(XS)),
        odd("every second step of another array", xs=np.repeat(XS, 2, axis=0)[::2]),
        odd("negative strides", xs=XS[::-1].copy()[::-1]),
        odd("read only", xs=np.frombuffer(XS.tobytes(), XS.dtype).reshape(XS.shape)),
        odd("lists", xs=XS.tolist()),
        odd("float64 weights in NumPy", params=DOUBLE),
        odd("a carry of integers", carry=CELL.initial_carry((B,), jnp.int32)),
        odd("a carry of bfloat16", carry=CELL.initial_carry((B,), jnp.bfloat16)),
        odd("a chunk longer than T", driver=Chunked(length=100)),
        odd("lengths all T", lengths=np.full(B, T)),
        odd("lengths in uint8", lengths=np.full(B, T, np.uint8)),
        odd("lengths in a list", lengths=[T] * B),
        odd("lengths all 0", lambda: (NONE, zeros(T, B, H)), lengths=[0] * B),
        odd("NaN from step 3 on", lambda: nan_from(3), xs=np.r_[XS[:3], XS[3:] * np.nan]),
        odd("T=0", lambda: (NONE, zeros(0, B, H)), xs=XS[:0]),
        odd("T=0, chunked", lambda: (NONE, zeros(0, B, H)), xs=XS[:0], driver="chunked"),
        odd("T=0, lengths", lambda: (NONE, zeros(0, B, H)), xs=XS[:0], lengths=[0] * B),
        odd("T=1", one_step, xs=XS[:1]),
        odd("T=1, chunked", one_step, xs=XS[:1], driver="chunked"),
        odd("B=0", lambda: (LSTMCarry(zeros(0, H), zeros(0, H)), zeros(T, 0, H)), xs=XS[:, :0]),
        odd("B=1", lambda: of_sequence(slice(1)), xs=XS[:, :1]),
        odd("no batch", lambda: of_sequence(0), xs=XS[:, 0]),
    ],
    unroll_under_jit: [
        odd("beyond", lambda: call(unroll, lengths=[0, 3, T, 2]), lengths=np.array([-5, 3, 8, 2])),
    ],
    gate_activations: [
        odd("float64", xs=XS.astype(np.float64)),
        odd("T=0", lambda: dict.fromkeys("ifgo", zeros(0, B, H)), xs=XS[:0]),
    ],
    flow.adjoint_norms: [
        odd("float64", xs=XS.astype(np.float64), d_ys=D_YS.astype(np.float64)),
        odd("Fortran order", xs=np.asfortranarray(XS), d_ys=np.asfortranarray(D_YS)),
        odd("T=0", lambda: no_norms((1, B), (0, B)), xs=XS[:0], d_ys=D_YS[:0]),
        odd("B=0", lambda: no_norms((T + 1, 0), (T, 0)), xs=XS[:, :0], d_ys=D_YS[:, :0]),
        odd("no loss at all", lambda: no_norms((T + 1, B), (T, B)), d_ys=None),
    ],
    flow.parameter_gradient_norms: [
        odd("float64", xs=XS.astype(np.float64), d_ys=D_YS.astype(np.float64)),
        odd("no loss at all", lambda: flow.parameter_norms(CELL, NO_GRADS), d_ys=None),
        odd("T=0", lambda: flow.parameter_norms(CELL, NO_GRADS), xs=XS[:0], d_ys=D_YS[:0]),
        odd("B=0", lambda: flow.parameter_norms(CELL, NO_GRADS), xs=XS[:, :0], d_ys=D_YS[:, :0]),
    ],
    flow.parameter_norms: [
        odd("NumPy", grads=jax.tree.map(np.asarray, PARAMS)),
        odd("float64 in NumPy", grads=DOUBLE),
    ],
    init: [
        odd("an old key", key=OLD_KEY),
        odd("a size of NumPy", input_size=np.int64(D)),
    ],
    adjust: [odd("an old key", key=OLD_KEY)],
    classify: [
        odd("float64", xs=XS.astype(np.float64)),
        odd("batch first in memory", xs=rewired(XS)),
        odd("the last output", readout="outputs"),
        odd("T=0", lambda: zeros(B, 3), xs=XS[:0]),
        odd("B=0", lambda: zeros(0, 3), xs=XS[:, :0]),
        odd("B=1", lambda: call(classify)[:1], xs=XS[:, :1]),
        odd("no batch", lambda: call(classify)[0], xs=XS[:, 0]),
    ],
    to_sequences: [
        odd("no images", lambda: zeros(0, 28, 28), images=IMAGES[:0]),
        odd("Fortran order", images=np.asfortranarray(IMAGES)),
        odd("negative strides", images=IMAGES[:, ::-1].copy()[:, ::-1]),
    ],
}


@pytest.mark.parametrize(
    "function, want, changes",
    [
        pytest.param(function, want, changes, id=f"{function.__name__}-{name}")
        for function, rows in TABLE.items()
        for name, want, changes in rows
    ],
)
def test_an_unusual_valid_argument_gives_the_usual_value(function, want, changes):
    want = want() if want else call(function)
    assert_close(call(function, **changes), want, 1e-6)
