"""`RNN` and `SequenceClassifier`, compared with `unroll` and with each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, FLOWING
from flax import nnx

from rnn_jax import (
    RNN,
    ConvLSTMCell,
    InputError,
    LSTMCell,
    SequenceClassifier,
    SequenceModel,
    learned_carry,
    unroll,
)
from rnn_jax.wrappers.fused_projection import fuse_projection, fusion_pays

T, B, D, C = 6, 3, 5, 4
READERS = {name: CELLS[name].cell for name in (*FLOWING, "projected", "zoneout")}
every_cell = pytest.mark.parametrize("cell", READERS.values(), ids=READERS)


def sequences(features=D):
    return jax.random.normal(jax.random.key(1), (T, B, features))


def classifier(cell, **options):
    return SequenceClassifier(cell, D, C, **{"projection_size": 12, **options}, rngs=nnx.Rngs(0))


def widened(model):
    """The graph definition, and the parameters in float64, shifted away from zero."""
    graphdef, params = nnx.split(model, nnx.Param)
    return graphdef, jax.tree.map(lambda p: p.astype(jnp.float64) + 0.01, params)


@every_cell
def test_rnn_equals_unroll_with_its_parameters(cell):
    layer = RNN(cell, D, rngs=nnx.Rngs(0))
    expected = unroll(cell, layer.weights(), sequences())
    jax.tree.map(np.testing.assert_array_equal, layer(sequences()), expected)


def test_parameters_keep_the_names_of_the_cell():
    layer = RNN(LSTMCell(7), D, rngs=nnx.Rngs(0))
    assert layer.params.w_h[...].shape == (7, 28)
    assert len(jax.tree.leaves(nnx.state(layer, nnx.Param))) == 3


@every_cell
def test_readouts_agree_up_to_rounding_without_padding(cell):
    by_carry, by_outputs = (classifier(cell, readout=r)(sequences()) for r in ("carry", "outputs"))
    # A readout that multiplies, such as that of an LRU, may round differently at other shapes.
    np.testing.assert_allclose(by_carry, by_outputs, rtol=1e-5, atol=1e-6)


def test_padding_is_ignored():
    model = classifier(LSTMCell(7))
    lengths = jnp.array([T, 2, 4])
    whole = model(sequences(), lengths=lengths)
    for b, length in enumerate(lengths):
        alone = model(sequences()[:length, b])
        np.testing.assert_allclose(whole[b], alone, atol=1e-6)


@pytest.mark.parametrize("options", [{"lengths": True}, {"mask": True}, {}], ids=str)
def test_the_mean_readout_is_that_of_the_valid_steps(options):
    model, counts = classifier(LSTMCell(7), readout="mean"), np.array([T, 0, 4])
    valid = np.arange(T)[:, None] < counts
    given = {"lengths": counts, "mask": valid} if options else {}
    got = model(sequences(), **{name: jnp.asarray(given[name]) for name in options})
    _, ys = model.rnn(model.projection(sequences()))
    for b, count in enumerate(counts if options else [T] * B):
        mean = ys[:count, b].mean(0) if count else jnp.zeros(7)
        np.testing.assert_allclose(got[b], model.output(mean), atol=1e-6)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("how", ["lengths", "mask", "gaps"])
def test_outputs_are_taken_at_the_last_valid_step(how, fuse):
    model = classifier(LSTMCell(7), readout="outputs", fuse_projection=fuse)
    mask = np.arange(T)[:, None] < np.array([T, 2, 4])
    if how == "gaps":
        mask[[1, 3], 1] = False, True
    counts = (
        {"lengths": jnp.asarray(mask.sum(0))} if how == "lengths" else {"mask": jnp.array(mask)}
    )
    got = model(sequences(), **counts)
    for b in range(B):
        alone = model(sequences()[mask[:, b], b])
        np.testing.assert_allclose(got[b], alone, atol=1e-6)
    np.testing.assert_allclose(classifier(LSTMCell(7))(sequences(), **counts), got, atol=1e-6)


def test_without_valid_steps_outputs_are_zeros_and_the_carry_is_initial():
    cell = learned_carry(LSTMCell(7))
    by_carry, by_outputs = (classifier(cell, readout=r) for r in ("carry", "outputs"))
    for model in by_carry, by_outputs:
        model.output.bias[...] = jnp.arange(C, dtype=jnp.float32)
        model.rnn.params.carry.h[...] = jnp.ones(7)
    empty = {"lengths": jnp.array([0, T, T])}, {"mask": jnp.zeros((T, B), bool)}
    for counts in empty:
        np.testing.assert_array_equal(by_outputs(sequences(), **counts)[0], np.arange(C))
        start = by_carry.output(jnp.ones(7))
        np.testing.assert_allclose(by_carry(sequences(), **counts)[0], start, rtol=1e-6)


@pytest.mark.parametrize("readout", ["carry", "outputs"])
def test_a_classifier_takes_resets(readout):
    model = classifier(LSTMCell(7), readout=readout)
    resets = jnp.zeros((T, B), bool).at[2].set(True)
    np.testing.assert_allclose(model(sequences(), resets=resets), model(sequences()[2:]), atol=1e-6)


@every_cell
def test_a_fused_projection_changes_neither_values_nor_gradients(cell, float64):
    results = []
    for fuse in (True, False):
        graphdef, params = widened(classifier(cell, fuse_projection=fuse))
        xs = sequences().astype(jnp.float64)

        def loss(params, xs, graphdef=graphdef):
            return jnp.sin(nnx.merge(graphdef, params)(xs)).sum()

        results.append(jax.jit(jax.value_and_grad(loss, (0, 1)))(params, xs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), *results)


def test_fusion_applies_to_widening_projections_only():
    cell = LSTMCell(128)
    assert fusion_pays(cell, jnp.zeros((28, 128)))
    assert not fusion_pays(cell, jnp.zeros((784, 16)))


def test_a_fused_cell_takes_the_projections_inputs():
    cell = LSTMCell(7)
    fused, params = fuse_projection(
        cell, cell.init(jax.random.key(0), 12), jnp.ones((D, 12)), jnp.ones(12)
    )
    assert fused.input_size(params) == D
    assert fused.gates == cell.gates


@pytest.mark.parametrize("name", ["lstm", "leaky", "projected", "gru_reset_before"])
def test_a_layer_without_projection_feeds_the_cell(name):
    model = classifier(READERS[name], projection_size=0)
    assert model(sequences()).shape == (B, C)
    assert model.projection is None


def test_gates_of_a_classifier_equal_those_of_its_layer():
    model = classifier(LSTMCell(7))
    gates = model.gates(sequences())
    expected = model.rnn.gates(model.projection(sequences()))
    assert list(gates) == ["i", "f", "g", "o"]
    for name, values in gates.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-6)


def test_bfloat16_products_keep_float32_parameters():
    exact, rounded = (classifier(LSTMCell(7), dtype=d) for d in (None, jnp.bfloat16))
    assert {p.dtype for p in jax.tree.leaves(nnx.state(rounded))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(rounded(sequences()), exact(sequences()), atol=0.05)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: classifier(LSTMCell(7), readout="last"), "readout must be 'carry', 'outputs' or"),
        (lambda: classifier(LSTMCell(7), projection_size=-1), "got -1"),
        (lambda: classifier(ConvLSTMCell(7)), "ConvLSTMCell has 2 spatial axes; use RNN(cell"),
        (lambda: classifier(LSTMCell), "SequenceClassifier needs a cell, got the class LSTMCell"),
        (lambda: classifier("lstm"), "SequenceClassifier needs a cell such as"),
        (lambda: SequenceClassifier(LSTMCell(7), D, C, rngs=0), "rngs must be an nnx.Rngs"),
        (lambda: SequenceModel(LSTMCell, D, C, rngs=nnx.Rngs(0)), "SequenceModel needs a cell"),
        (lambda: SequenceModel(LSTMCell(7), D, 0, rngs=nnx.Rngs(0)), "output_size must be a pos"),
        (lambda: classifier(LSTMCell(7))(sequences(D + 1)), "xs has 6 features"),
        (lambda: classifier(LSTMCell(7))(jnp.zeros((T, B, D), jnp.uint8)), "got uint8"),
        (lambda: classifier(LSTMCell(7))(jnp.zeros(D)), "got shape (5,)"),
    ],
)
def test_errors_are_one_sentence(make, words):
    with pytest.raises(InputError) as error:
        make()
    assert words in str(error.value)
