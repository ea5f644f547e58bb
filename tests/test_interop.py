"""Converted layers give the same values and gradients as the originals."""

from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import H
from flax import linen as nn

from rnn_jax import GRUCell, HiddenCarry, LSTMCarry, LSTMCell, RNNCell, unroll
from rnn_jax.interop import (
    from_keras,
    from_linen,
    from_torch,
    keras_weights,
    to_keras,
    to_linen,
    to_torch,
    torch_weights,
)
from rnn_jax.testing.oracle import (
    B,
    D,
    T,
    assert_close,
    assert_same,
    problem,
    pull_back,
    run,
    run_back,
)

CELLS = {
    "rnn_tanh": RNNCell(H),
    "rnn_relu": RNNCell(H, activation="relu"),
    "lstm": LSTMCell(H),
    "gru": GRUCell(H),
}
each_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def keras():
    return pytest.importorskip("keras")


def run_linen(cell, params, xs, carry):
    """`run` by linen, with the weights of `params`."""
    module, theirs = to_linen(cell, params)
    start = carry[::-1] if isinstance(carry, LSTMCarry) else carry.h
    rnn = nn.RNN(module, time_major=True, return_carry=True)
    last, ys = rnn.apply({"params": {"cell": theirs}}, xs, initial_carry=start)
    return LSTMCarry(*last[::-1]) if isinstance(carry, LSTMCarry) else HiddenCarry(last), ys


def run_keras(layer, cell, params, xs, carry):
    """`run` by a Keras layer, with the weights of `params`."""
    fixed = [variable.value for variable in layer.non_trainable_variables]
    (ys, *last), _ = layer.stateless_call(
        keras_weights(cell, params), fixed, jnp.swapaxes(xs, 0, 1), initial_state=list(carry)
    )
    return type(carry)(*last), jnp.swapaxes(ys, 0, 1)


@each_cell
def test_values_and_gradients_equal_those_of_linen(cell, float64):
    params, xs, carry, cotangents = problem(cell)
    theirs = jax.jit(partial(pull_back, partial(run_linen, cell)))
    got = run_back(cell, params, xs, carry, cotangents)
    assert_close(got, theirs(cotangents, params, xs, carry))


@each_cell
def test_values_and_gradients_equal_those_of_keras_in_float32(cell, keras):
    params, xs, carry, cotangents = problem(cell, dtype=jnp.float32)
    layer = to_keras(cell, params, return_sequences=True, return_state=True)
    theirs = jax.jit(partial(pull_back, partial(run_keras, layer, cell)))
    got = run_back(cell, params, xs, carry, cotangents)
    assert_close(got, theirs(cotangents, params, xs, carry), tolerance=1e-5)


def network(cell, layers, directions):
    """The pairs of a network with random weights, and a problem's xs, carries and cotangents."""
    pairs, size = [], D
    for depth in range(layers):
        seeds = [depth * directions + direction for direction in range(directions)]
        pairs.append([(cell, problem(cell, features=size, seed=s).params) for s in seeds])
        size = directions * cell.hidden_size
    _, xs, carries, _ = problem(cell)
    carries = jax.tree.map(lambda c: jnp.stack([c] * layers * directions), carries)
    rng = np.random.default_rng(1)
    outputs = carries, jnp.zeros((T, B, size))
    return (
        pairs,
        xs,
        carries,
        jax.tree.map(lambda o: jnp.asarray(rng.normal(size=o.shape)), outputs),
    )


@partial(jax.jit, static_argnames="cell")
def run_network(cell, params, xs, carries):
    """A stack of layers, each in one or two directions: the final carries and the outputs."""
    lasts = []
    for row in params:
        outputs = []
        for step, weights in zip((1, -1), row, strict=False):
            carry = jax.tree.map(itemgetter(len(lasts)), carries)
            last, ys = unroll(cell, weights, xs[::step], carry)
            lasts.append(last)
            outputs.append(ys[::step])
        xs = jnp.concatenate(outputs, axis=-1)
    return jax.tree.map(lambda *fields: jnp.stack(fields), *lasts), xs


def torch_back(torch, layer, xs, carries, cotangents):
    """Values, and gradients by the layer's parameters, xs and carries, all as NumPy arrays."""

    def tensor(array):
        return torch.tensor(np.array(array)).requires_grad_()

    inputs, start = tensor(xs), [tensor(field) for field in carries]
    ys, last = layer(inputs, tuple(start) if len(start) > 1 else start[0])
    last = last if isinstance(last, tuple) else (last,)
    weights = [torch.tensor(np.array(w)) for w in (cotangents[1], *cotangents[0])]
    leaves = [*layer.parameters(), inputs, *start]
    gradients = [g.numpy() for g in torch.autograd.grad([ys, *last], leaves, weights)]
    *d_weights, d_xs = gradients[: -len(start)]
    values = type(carries)(*(field.detach().numpy() for field in last)), ys.detach().numpy()
    return values, (d_weights, d_xs, type(carries)(*gradients[-len(start) :]))


def unlayered(pairs, d_weights):
    """Gradients by the weights of a PyTorch layer as gradients by the params of `pairs`."""
    fours = iter(zip(*[iter(map(jnp.asarray, d_weights))] * 4, strict=True))
    return [
        [
            jax.linear_transpose(partial(torch_weights, cell), params)(next(fours))[0]
            for cell, params in row
        ]
        for row in pairs
    ]


@pytest.mark.parametrize(
    "cell, layers, directions",
    [
        *(pytest.param(cell, 1, 1, id=name) for name, cell in CELLS.items()),
        pytest.param(CELLS["rnn_relu"], 2, 1, id="rnn_stacked"),
        pytest.param(CELLS["lstm"], 2, 2, id="lstm_stacked_bidirectional"),
        pytest.param(CELLS["gru"], 1, 2, id="gru_bidirectional"),
    ],
)
def test_values_and_gradients_equal_those_of_pytorch(cell, layers, directions, torch, float64):
    pairs, xs, carries, cotangents = network(cell, layers, directions)
    params = [[params for _, params in row] for row in pairs]
    got = pull_back(partial(run_network, cell), cotangents, params, xs, carries)
    values, (d_weights, *others) = torch_back(torch, to_torch(pairs), xs, carries, cotangents)
    assert_close(got, (values, (unlayered(pairs, d_weights), *others)))


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_from_torch_gives_the_same_outputs(kind, bias, torch, float64):
    layer = getattr(torch.nn, kind)(D, H, bias=bias, batch_first=True, dtype=torch.float64)
    [[(cell, params)]] = from_torch(layer)
    xs = problem(cell).xs
    ys, _ = layer(torch.tensor(np.swapaxes(xs, 0, 1)))
    assert_close(np.swapaxes(run(cell, params, xs)[1], 0, 1), ys.detach().numpy())


def test_from_torch_copies_the_weights(torch, float64):
    layer = torch.nn.LSTM(1, 1, dtype=torch.float64)
    [[(_, params)]] = from_torch(layer)
    before = jax.tree.map(np.array, params)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert_same(jax.tree.map(np.array, params), before)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_from_keras_gives_the_same_outputs(kind, bias, keras):
    options = {"use_bias": bias, "bias_initializer": "random_normal", "return_sequences": True}
    layer = getattr(keras.layers, kind)(H, **options)
    xs = problem(RNNCell(H), dtype=jnp.float32).xs
    want = layer(jnp.swapaxes(xs, 0, 1))
    ys = run(*from_keras(layer), xs)[1]
    assert_close(jnp.swapaxes(ys, 0, 1), want, tolerance=1e-6)
    assert_same(from_keras(layer.cell), from_keras(layer))


@pytest.mark.parametrize("kind", [nn.SimpleCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell])
def test_from_linen_gives_the_same_outputs(kind, float64):
    module = kind(H, bias_init=nn.initializers.normal(), param_dtype=jnp.float64)
    xs = problem(RNNCell(H)).xs
    want, variables = nn.RNN(module, time_major=True).init_with_output(jax.random.key(0), xs)
    assert_close(run(*from_linen(module, variables["params"]["cell"]), xs)[1], want)


@pytest.mark.parametrize("kind", [nn.SimpleCell, nn.LSTMCell, nn.GRUCell])
def test_narrow_linen_weights_without_a_dtype_compute_in_float32(kind):
    module, xs = kind(H), problem(RNNCell(H), dtype=jnp.float32).xs
    layer = nn.RNN(module, time_major=True)
    variables = layer.init(jax.random.key(0), xs)
    variables = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables)
    want = layer.apply(variables, xs)[...]
    pair = from_linen(module, variables["params"]["cell"])
    assert_close(run(*pair, xs)[1], want, tolerance=1e-6)


@each_cell
def test_weights_survive_a_round_trip_bit_for_bit(cell, torch, keras):
    pair = cell, problem(cell, dtype=jnp.float32).params
    assert_same(from_linen(*to_linen(*pair)), pair)
    assert_same(from_keras(to_keras(*pair)), pair)
    assert_same(from_torch(to_torch([[pair]])), [[pair]])
    rounded = cell, problem(cell, dtype=jnp.bfloat16).params
    assert_same(from_torch(to_torch([[rounded]])), [[rounded]])
    assert_same(from_linen(*to_linen(*rounded)), rounded)


def test_a_stack_survives_a_round_trip_bit_for_bit(torch, float64):
    pairs = network(GRUCell(H), 2, 2)[0]
    assert_same(from_torch(to_torch(pairs)), pairs)
