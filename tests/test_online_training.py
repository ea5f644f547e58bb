"""Training steps with online gradients: their updates, memory and learning."""

import jax
import jax.numpy as jnp
import optax
import pytest
from online_tasks import loss, task, through_time

from rnn_jax import GRUCell, InputError, RNNCell, S5Cell
from rnn_jax.analysis.online_estimators import RFLO, RTRL, UORO, SnAp1
from rnn_jax.testing.oracle import assert_close
from rnn_jax.training.online import init_online, make_online_step


@pytest.mark.parametrize("estimator", [RTRL(), SnAp1(), RFLO(), UORO()])
def test_compiled_memory_does_not_depend_on_the_number_of_steps(estimator):
    cell, optimizer = GRUCell(4), optax.sgd(0.1)
    params = cell.init(jax.random.key(0), 2), jnp.ones((4, 2))
    state = init_online(estimator, cell, params, optimizer, (2,))
    step = make_online_step(loss, estimator, cell, optimizer, update_every=10)

    def working_memory(steps):
        xs = jax.ShapeDtypeStruct((steps, 2, 2), jnp.float32)
        return step.lower(state, xs, xs).compile().memory_analysis().temp_size_in_bytes

    assert 0 < working_memory(1_000_000) <= 1.01 * working_memory(1000)


def test_one_update_at_the_end_is_descent_on_the_gradient(float64):
    cell, optimizer = RNNCell(3), optax.sgd(0.1)
    params, xs, targets = task(cell)
    value, grads = through_time(cell, params, xs, targets)
    want = jax.tree.map(lambda w, g: w - 0.1 * g, params, grads)
    state = init_online(RTRL(), cell, params, optimizer, (2,))
    state, losses = make_online_step(loss, RTRL(), cell, optimizer, 5)(state, xs, targets)
    assert_close((losses, state.params), (value[None], want))


@pytest.mark.parametrize("estimator", [RTRL(), SnAp1(), UORO()])
def test_updates_at_every_step_learn_to_remember(estimator):
    cell, optimizer = S5Cell(8) if isinstance(estimator, SnAp1) else GRUCell(8), optax.adam(1e-2)
    bits = jax.random.rademacher(jax.random.key(1), (1500, 8, 1), jnp.float32)
    params = cell.init(jax.random.key(0), 1), jnp.zeros((8, 1))
    square = lambda head, y, target: jnp.mean((y @ head - target) ** 2)  # noqa: E731
    state = init_online(estimator, cell, params, optimizer, (8,))
    step = make_online_step(square, estimator, cell, optimizer)
    _, losses = step(state, bits, jnp.roll(bits, 1, 0))
    assert losses[-100:].mean() < 0.5 * losses[:100].mean()


@pytest.mark.usefixtures("unchecked")
def test_wrong_options_are_one_sentence():
    cell, optimizer = RNNCell(3), optax.sgd(0.1)
    params = cell.init(jax.random.key(0), 2), jnp.ones((3, 2))
    state = init_online(RTRL(), cell, params, optimizer)
    step = make_online_step(loss, RTRL(), cell, optimizer, update_every=2)
    with pytest.raises(InputError, match="update_every must divide"):
        step(state, jnp.ones((3, 2)), jnp.ones((3, 2)))
