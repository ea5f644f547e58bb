"""Valid calls, and table rows of one invalid argument with the expected words of the error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H, LinearRNNCell
from flax import nnx

from rnn_jax import (
    Chunked,
    InputError,
    LSTMCell,
    Newton,
    RNNCell,
    SequenceClassifier,
    gate_activations,
    unroll,
)
from rnn_jax import initializers as inits
from rnn_jax.analysis.gradient_flow import (
    adjoint_norms,
    loss_adjoint_norms,
    parameter_gradient_norms,
    parameter_norms,
)
from rnn_jax.datasets.image_data import check_sequences, to_sequences
from rnn_jax.testing.oracle import B, D, T, problem
from rnn_jax.training.batches import BatchOrder, StreamOrder

CELL = LSTMCell(H)
PARAMS = problem(CELL, dtype=np.float32).params
XS = np.random.default_rng(0).integers(-8, 9, (T, B, D)).astype(np.float32) / 8
D_YS = np.random.default_rng(1).integers(-8, 9, (T, B, H)).astype(np.float32) / 8
KEY = jax.random.key(0)
LINEAR = problem(LinearRNNCell(H), dtype=np.float32).params
IMAGES = np.random.default_rng(2).integers(0, 256, (4, 28, 28), np.uint8)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def case(*words, **changes):
    """A table row: expected words of the error, and the arguments that differ from a valid call."""
    return words, changes


def forward_derivative(**given):
    """The derivative of `unroll` along a direction in xs."""
    given["xs"] = jnp.asarray(given["xs"])
    return jax.jvp(lambda xs: unroll(**(given | {"xs": xs})), (given["xs"],), (given["xs"],))


def unroll_under_jit(lengths, **others):
    """`unroll` where the lengths are an argument of the compiled function."""
    return jax.jit(lambda lengths: unroll(lengths=lengths, **others))(lengths)


def init(cell, key, input_size):
    """The parameters that `cell.init` returns."""
    return cell.init(key, input_size)


def adjust(init, cell, params, key):
    """The parameters that `init` returns for `params`."""
    return init.adjust(cell, params, key)


def classify(xs, **making):
    """The logits of a new classifier."""
    return SequenceClassifier(**making, rngs=nnx.Rngs(0))(xs)


RUN = {"cell": CELL, "params": PARAMS, "xs": XS}
RIGHT = {
    unroll: RUN,
    unroll_under_jit: RUN,
    forward_derivative: RUN,
    gate_activations: RUN,
    adjoint_norms: RUN | {"d_ys": D_YS},
    parameter_gradient_norms: RUN | {"d_ys": D_YS},
    loss_adjoint_norms: RUN | {"loss": lambda carry, ys: ys.sum()},
    parameter_norms: {"cell": CELL, "grads": PARAMS},
    Chunked: {},
    Newton: {},
    LSTMCell: {"hidden_size": H},
    RNNCell: {"hidden_size": H},
    init: {"cell": CELL, "key": KEY, "input_size": D},
    inits.Chrono: {"longest": 9},
    inits.Gain: {"gain": 0.9},
    inits.ForgetBias: {"bias": 1.0},
    adjust: {"init": inits.Orthogonal(), "cell": CELL, "params": PARAMS, "key": KEY},
    classify: {"xs": XS, "cell": CELL, "input_size": D, "num_classes": 3, "projection_size": 0},
    to_sequences: {"images": IMAGES},
    check_sequences: {"xs": zeros(3, 5, 2), "labels": [0, 1, 2], "num_classes": 3},
    BatchOrder: {"seed": 0, "num_examples": 8, "batch_size": 4},
    StreamOrder: {"num_windows": 3, "batch_size": 4},
}


def call(function, **changes):
    """Call a function with valid arguments except for the changes."""
    return function(**RIGHT[function] | changes)


def assert_error(words, call, *arguments, **others):
    with pytest.raises(InputError) as answer:
        call(*arguments, **others)
    missing = [word for word in words if word not in str(answer.value)]
    assert not missing, str(answer.value)
