"""Exported programs and safetensors files give the results of the model they came from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import (
    RNN,
    InputError,
    LRUCell,
    LSTMCell,
    SequenceClassifier,
    SequenceModel,
    learned_carry,
)
from rnn_jax.interop.stablehlo import export_sequences, export_step, load_exported
from rnn_jax.interop.tensors import load_tensors, save_tensors
from rnn_jax.numerics import named

D = 3
pytestmark = pytest.mark.usefixtures("unchecked")


def inputs(steps, batch):
    return jax.random.normal(jax.random.key(1), (steps, batch, D))


def model_of(cell):
    return SequenceModel(cell, D, 2, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    "model",
    [
        model_of(LSTMCell(4)),
        SequenceClassifier(LSTMCell(4), D, 5, rngs=nnx.Rngs(0)),
        RNN(LRUCell(4), D, rngs=nnx.Rngs(0)),
    ],
    ids=["model", "classifier", "layer"],
)
def test_exported_sequences_of_any_length_and_batch(tmp_path, model):
    export_sequences(model, tmp_path / "model.stablehlo", D)
    run = load_exported(tmp_path / "model.stablehlo")
    for steps, batch in ((1, 1), (70, 5)):
        results = model(inputs(steps, batch))
        want = results[1] if isinstance(results, tuple) else results
        np.testing.assert_allclose(run(inputs(steps, batch)), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", [LSTMCell(4), LRUCell(4), learned_carry(LSTMCell(4))])
def test_an_exported_step_follows_streams_with_resets(tmp_path, cell):
    model = model_of(cell)
    export_step(model, tmp_path / "step.stablehlo", D)
    step = load_exported(tmp_path / "step.stablehlo")
    xs = inputs(6, 2)
    resets = np.zeros((6, 2), bool)
    resets[0], resets[4, 1] = True, True
    _, want = model(xs, resets=jnp.asarray(resets))
    start = named(cell.initial_carry((2,)))
    carry, ys = {name: jnp.full_like(leaf, 7) for name, leaf in start.items()}, []
    for x, reset in zip(xs, resets, strict=True):
        carry, y = step(carry, x, reset)
        ys.append(y)
    np.testing.assert_allclose(np.array(ys), want, rtol=1e-5, atol=1e-5)


def test_parameters_by_name_survive_a_file(tmp_path):
    first, second = model_of(LSTMCell(4)), SequenceModel(LSTMCell(4), D, 2, rngs=nnx.Rngs(1))
    path = tmp_path / "model.safetensors"
    save_tensors(nnx.state(first, nnx.Param), path)
    nnx.update(second, load_tensors(nnx.state(second, nnx.Param), path))
    np.testing.assert_array_equal(second(inputs(5, 2))[1], first(inputs(5, 2))[1])
    names = set(named(nnx.state(first, nnx.Param)))
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        assert set(file.keys()) == names


def test_mistakes_are_one_sentence(tmp_path):
    path = tmp_path / "file"
    params = LSTMCell(4).init(jax.random.key(0), D)
    with pytest.raises(InputError, match="cannot be read"):
        load_exported(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_tensors(params, path)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="is not a program written by export_sequences"):
        load_exported(path)
    with pytest.raises(InputError, match="is not a safetensors file"):
        load_tensors(params, path)
    save_tensors(params, path)
    with pytest.raises(InputError, match=r"b has shape \(16,\), expected \(20,\)|w_x has shape"):
        load_tensors(LSTMCell(5).init(jax.random.key(0), D), path)
    with pytest.raises(InputError, match="b is not in the parameters"):
        load_tensors(params._replace(b=None), path)
    classifier = SequenceClassifier(LSTMCell(4), D, 5, rngs=nnx.Rngs(0))
    del classifier.rnn
    with pytest.raises(InputError, match="needs an RNN or a SequenceModel, got SequenceClassifier"):
        export_step(classifier, path, D)
    with pytest.raises(InputError, match="cannot be written"):
        save_tensors(params, tmp_path / "nowhere" / "file")
