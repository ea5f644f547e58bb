"""Streams of episodes: the resets of a window are those of its rollout, and no others are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import GRUCell, LSTMCell, RNNCell, SequenceModel, learned_carry
from rnn_jax.training.rollouts import (
    generalized_advantages,
    last_rewards,
    new_streams,
    rollout,
)

T, B, END = 24, 16, 4
CELLS = {"rnn": RNNCell(4), "gru": GRUCell(4), "lstm": LSTMCell(4)}


class Race:
    """Advance by 0, 1 or 2 places, until place 4 or beyond."""

    def reset(self, key):
        del key
        return jnp.zeros((), jnp.int32)

    def observe(self, state):
        return jnp.stack([jnp.ones(()), state / END])

    def step(self, state, action):
        return state + action, action + 0.5, state + action >= END


RACE = Race()


def model_of(cell):
    """A model whose outputs depend on the carry from the first step on."""
    model = SequenceModel(cell, 2, 4, rngs=nnx.Rngs(0))
    nnx.update(model, jax.tree.map(lambda leaf: leaf + 0.3, nnx.state(model, nnx.Param)))
    return model


def second_window(model, keys):
    """The window after the first one, and the streams after it."""
    window, streams = None, new_streams(jnp.arange(len(keys)) % END, model.rnn.cell)
    play = nnx.jit(rollout, static_argnums=(0, 4))
    for n in range(2):
        now = jax.vmap(jax.random.fold_in, (0, None))(keys, n)
        streams, window = play(RACE, model, streams, now, T)
    return window, streams


@pytest.fixture(scope="module", params=[*CELLS, "learned"])
def played(request):
    """A model, a window that starts within episodes, and the streams after it."""
    model = model_of(CELLS.get(request.param) or learned_carry(CELLS["gru"]))
    window, streams = second_window(model, jax.random.split(jax.random.key(0), B))
    resets = np.asarray(window.resets)
    assert resets[0].any() and not resets[0].all() and (resets[1:-1].sum(0) > 2).all()
    return model, window, streams


def test_unroll_with_the_resets_of_a_window_repeats_the_rollout(played):
    model, window, streams = played
    carry, ys = model(window.xs[:-1], window.carry, resets=window.resets[:-1])
    np.testing.assert_allclose(ys, window.ys, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), carry, streams.carry)
    _, longer = model(window.xs, window.carry, resets=window.resets)
    np.testing.assert_allclose(longer[:-1], window.ys, atol=1e-6)


def test_resets_one_step_late_change_the_first_output_of_each_episode(played):
    model, window, _ = played
    resets = np.asarray(window.resets[:-1])
    late = np.concatenate([np.zeros((1, B), bool), resets[:-1]])
    _, ys = model(window.xs[:-1], window.carry, resets=jnp.asarray(late))
    missed = resets & ~late
    assert missed.sum() > 3 * B
    assert (np.abs(ys - window.ys).max(-1) > 1e-3)[missed].all()


def test_resets_one_step_early_change_the_last_output_of_each_episode(played):
    model, window, _ = played
    resets, dones = np.asarray(window.resets[:-1]), np.asarray(window.resets[1:])
    _, ys = model(window.xs[:-1], window.carry, resets=jnp.asarray(dones))
    added = dones & ~resets
    assert added.sum() > 3 * B
    assert (np.abs(ys - window.ys).max(-1) > 1e-3)[added].all()


def test_each_episode_equals_a_run_of_its_own(played):
    model, window, _ = played
    for b, resets in enumerate(np.asarray(window.resets[:-1]).T):
        starts = np.flatnonzero(resets)
        _, alone = model(window.xs[starts[0] : starts[1], b])
        np.testing.assert_allclose(alone, window.ys[starts[0] : starts[1], b], atol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_a_loop_that_clears_the_state_after_each_done_gives_the_same(name):
    """The loop of CleanRL: dones[t] is the done of the step before, and clears the state at t."""
    model = model_of(CELLS[name])
    keys = jax.random.split(jax.random.key(0), B)
    start = new_streams(jnp.zeros(B, jnp.int32), model.rnn.cell)
    _, window = nnx.jit(rollout, static_argnums=(0, 4))(RACE, model, start, keys, T)
    step, params = jax.jit(model.rnn.cell.step), model.rnn.weights()
    carry, place, next_done = start.carry, np.zeros(B), np.zeros(B)
    dones, ys = np.zeros((T, B)), []
    for t in range(T):
        dones[t] = next_done
        x = jnp.stack([jnp.ones(B), jnp.asarray(place / END, jnp.float32)], -1)
        cleared = jax.tree.map(lambda leaf: leaf * (1 - next_done)[:, None], carry)  # noqa: B023
        carry, h = step(params, cleared, x)
        ys.append(model.output(h))
        place = place + np.asarray(window.actions[t])
        next_done = (place >= END).astype(np.float32)
        place = np.where(next_done, 0, place)
    np.testing.assert_allclose(np.stack(ys), window.ys, atol=1e-6)
    np.testing.assert_array_equal(dones[1:], window.resets[1:-1])
    assert window.resets[0].all() and (window.resets[-1] == next_done).all()


def test_a_stream_does_not_depend_on_the_others():
    model, keys = model_of(CELLS["gru"]), jax.random.split(jax.random.key(0), B)
    window, _ = second_window(model, keys)
    alone, _ = second_window(model, keys[:2])
    np.testing.assert_array_equal(alone.actions, window.actions[:, :2])
    np.testing.assert_allclose(alone.ys, window.ys[:, :2], atol=1e-6)


def test_no_gradient_flows_through_a_rollout():
    streams = new_streams(jnp.zeros(B, jnp.int32), CELLS["rnn"])
    keys = jax.random.split(jax.random.key(0), B)
    grads = nnx.grad(lambda model: rollout(RACE, model, streams, keys, 4)[1].ys.sum())(
        model_of(CELLS["rnn"])
    )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_advantages_are_those_of_each_episode_alone(decay):
    random, discount = np.random.default_rng(0), 0.9
    rewards, values = random.normal(size=(T, B)), random.normal(size=(T + 1, B))
    resets = random.random((T + 1, B)) < 0.2
    got = generalized_advantages(
        *map(jnp.asarray, (rewards, values, resets)), discount=discount, decay=decay
    )
    for b in range(B):
        for t in range(T):
            want, weight = 0.0, 1.0
            for s in range(t, T):
                ends = resets[s + 1, b]
                after = 0 if ends else discount * values[s + 1, b]
                want += weight * (rewards[s, b] + after - values[s, b])
                weight *= discount * decay
                if ends:
                    break
            np.testing.assert_allclose(got[t, b], want, rtol=1e-4, atol=1e-5)


def test_the_last_reward_is_that_of_the_first_end():
    model = model_of(CELLS["rnn"])
    seeds, near = jnp.arange(6), jnp.array([3, 3, 3, 0, 0, 0])
    got = np.asarray(last_rewards(RACE, model, near, seeds, T))
    assert set(got) <= {1.5, 2.5}
    short = np.asarray(last_rewards(RACE, model, near, seeds, 1))
    assert not short[3:].any() and set(short[:3]) <= {0.0, 1.5, 2.5}
