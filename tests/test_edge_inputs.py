"""What is unusual and right gives the value of an everyday call, among others' files too."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from cells import H
from flax import nnx
from mistakes import (
    CELL,
    D_YS,
    IMAGES,
    PARAMS,
    XS,
    adjust,
    assert_told,
    call,
    classify,
    init,
    unroll_under_jit,
    zeros,
)

from rnn_jax import Chunked, LSTMCarry, gate_activations, load_run, unroll
from rnn_jax.analysis import gradient_flow as flow
from rnn_jax.datasets.image_data import to_sequences
from rnn_jax.models.factory import build_classifier
from rnn_jax.testing.oracle import B, D, T, assert_close
from rnn_jax.training.runs.checkpoint import Checkpoints, DamageWarning
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

pytestmark = pytest.mark.usefixtures("unchecked")

OLD_KEY = jax.random.PRNGKey(0)
NONE = LSTMCarry(zeros(B, H), zeros(B, H))
NO_GRADS = jax.tree.map(jnp.zeros_like, PARAMS)
DOUBLE = jax.tree.map(lambda p: np.asarray(p, np.float64), PARAMS)


def rewired(array):
    """The same numbers, their axes in another order in memory."""
    return array.swapaxes(0, 1).copy().swapaxes(0, 1)


def of_sequence(which):
    """Final carry and outputs of the right call, for one sequence or some."""
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
    """A row: what is odd, the value it must give (by default that of the right call), and it."""
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
        odd("a carry of whole numbers", carry=CELL.initial_carry((B,), jnp.int32)),
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
def test_what_is_unusual_and_right_gives_the_value_of_an_everyday_call(function, want, changes):
    want = want() if want else call(function)
    assert_close(call(function, **changes), want, 1e-6)


SETTINGS = {"cell": "lstm", "hidden_size": 5, "forget_bias": 1.0, "input_size": 3}
SETTINGS |= {"projection_size": 4, "num_classes": 2, "readout": "carry", "seed": 0}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    (path / "config.json").write_text(json.dumps(SETTINGS))
    params = nnx.state(build_classifier(SETTINGS), nnx.Param)
    Checkpoints(path / CHECKPOINTS).save(10, {"params": params}, {"settings": SETTINGS})
    return path


@pytest.fixture
def run(template, tmp_path):
    """The folder of a run with one checkpoint, `step_10`."""
    return shutil.copytree(template, tmp_path / "run")


CONFIGS = {
    "no cell": ({"cell": None}, ["config.json was changed", "cell (None now, lstm then)"]),
    "a list of cells": ({"cell": ["lstm"]}, ["cell (['lstm'] now, lstm then)"]),
    "another cell": ({"cell": "gru"}, ["cell (gru now, lstm then)"]),
    "another size": ({"hidden_size": 10**9}, ["hidden_size (1000000000 now, 5 then)"]),
    "other classes": ({"num_classes": 3}, ["num_classes (3 now, 2 then)"]),
    "classes in words": ({"num_classes": "two"}, ["num_classes (two now, 2 then)"]),
    "another seed": ({"seed": 1}, ["config.json was changed", "seed (1 now, 0 then)"]),
    "another forget bias": ({"forget_bias": 2.0}, ["forget_bias (2.0 now, 1.0 then)"]),
    "one setting more": ({"layers": 2}, ["layers (2 now, None then)"]),
}


@pytest.mark.parametrize("change, words", CONFIGS.values(), ids=CONFIGS)
def test_a_config_edited_by_hand_is_told_from_that_of_the_run(run, change, words):
    (run / "config.json").write_text(json.dumps(SETTINGS | change))
    assert_told(words, load_run, run)


@pytest.mark.parametrize("text", [json.dumps(SETTINGS)[:40], "[]", "", None])
def test_without_a_config_the_settings_in_the_checkpoint_are_used(run, text):
    (run / "config.json").unlink()
    if text is not None:
        (run / "config.json").write_text(text)
    with pytest.warns(UserWarning, match="the settings in the checkpoint are used"):
        assert load_run(run)[1] == SETTINGS


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_taken_out_of_a_config_is_named(run, name):
    left = {key: value for key, value in SETTINGS.items() if key != name}
    (run / "config.json").write_text(json.dumps(left))
    assert_told([name], load_run, run)


def random_files(path):
    path.mkdir()
    (path / "notes").write_bytes(bytes(range(256)))


def foreign_checkpoint(path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, {"weights": np.ones(3)})


def plain_file(path):
    path.write_text("a file stands where a folder could")


foreign = pytest.mark.parametrize("make", [random_files, foreign_checkpoint, plain_file])


@foreign
def test_a_later_step_of_another_program_is_named_and_not_used(run, make):
    make(run / CHECKPOINTS / "step_20")
    with pytest.warns(DamageWarning, match=r"step 20 is not used: .*that of step 10 is"):
        load_run(run)


@foreign
def test_an_earlier_step_of_another_program_is_let_be(run, make):
    make(run / CHECKPOINTS / "step_3")
    assert load_run(run)[1] == SETTINGS


@foreign
@pytest.mark.filterwarnings("ignore::rnn_jax.training.runs.checkpoint.DamageWarning")
def test_a_folder_with_steps_of_another_program_alone_holds_no_checkpoint(run, make):
    shutil.rmtree(run / CHECKPOINTS / "step_10")
    make(run / CHECKPOINTS / "step_20")
    assert_told(["holds no", "checkpoint"], load_run, run)
