"""Streams of episodes for reinforcement learning with recurrent networks."""

from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells.base import Cell
from rnn_jax.models.sequence import SequenceModel
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Key


@runtime_checkable
class Environment(Protocol):
    """Pure functions of the state of one environment; states are pytrees of arrays."""

    def reset(self, key: Key[Array, ""]) -> Any:
        """Start an episode."""
        ...

    def observe(self, state: Any) -> Float[Array, " D"]:
        """The observation of a state."""
        ...

    def step(
        self, state: Any, action: Int[Array, ""]
    ) -> tuple[Any, Float[Array, ""], Bool[Array, ""]]:
        """The next state, the reward, and whether the episode is over."""
        ...


class Streams(NamedTuple):
    """B environments between two windows.

    Attributes:
      state: their states, arrays [B, ...].
      starts: whether the next observation is the first of an episode.
      carry: the carry of the network after the last step, fields [B, H]. It belongs to the last
        episode where `starts` is true.
    """

    state: Any
    starts: Bool[Array, " B"]
    carry: Carry


class Window(NamedTuple):
    """T steps of B environments.

    Step t is an observation, the action it led to, and the reward of that action.

    Attributes:
      xs: observations; the last one follows the window.
      resets: whether an observation is the first of an episode, as in `unroll`. Step t ended an
        episode if `resets[t + 1]`.
      actions: actions.
      rewards: rewards.
      ys: outputs of the network at the T steps.
      carry: the carry at the start of the window, before its first reset.
    """

    xs: Float[Array, "T+1 B D"]
    resets: Bool[Array, "T+1 B"]
    actions: Int[Array, "T B"]
    rewards: Float[Array, "T B"]
    ys: Float[Array, "T B O"]
    carry: Carry


def new_streams(state: Any, cell: Cell) -> Streams:
    """Streams at the first observation of an episode, from B states of an environment."""
    size = len(jax.tree.leaves(state)[0])
    return Streams(state, jnp.ones(size, bool), cell.initial_carry((size,)))


def rollout(
    environment: Environment,
    model: SequenceModel,
    streams: Streams,
    keys: Key[Array, " B"],
    steps: int,
) -> tuple[Streams, Window]:
    """Act for T steps, with actions sampled from the policy.

    An episode that ends is followed by a new one in the same stream. No gradient flows through the
    window: `model(window.xs, window.carry, resets=window.resets)` repeats it with a gradient.

    Args:
      environment: the environment.
      model: a network whose outputs are the logits of the actions and, last, a value estimate.
      streams: the streams after the last window, or `new_streams`.
      keys: a key for each stream.
      steps: T.
    """
    model = nnx.merge(*jax.lax.stop_gradient(nnx.split(model)))
    observe = jax.vmap(environment.observe)

    def advance(state, y, key):
        acting, beginning = jax.random.split(key)
        action = jax.random.categorical(acting, y[:-1])
        state, reward, done = environment.step(state, action)
        state = jax.tree.map(partial(jnp.where, done), environment.reset(beginning), state)
        return state, action, reward, done

    def step(streams, t):
        state, starts, carry = streams
        x = observe(state)
        # The carry of a finished episode must not be used with the first observation of the next.
        carry, h = model.rnn.step(x, model.reset_carry(carry, starts))
        y = model.output(h)
        now = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
        state, action, reward, done = jax.vmap(advance)(state, y, now)
        return Streams(state, done, carry), (x, starts, action, reward, y)

    last, (xs, resets, actions, rewards, ys) = jax.lax.scan(step, streams, jnp.arange(steps))
    xs = jnp.concatenate([xs, observe(last.state)[None]])
    resets = jnp.concatenate([resets, last.starts[None]])
    return last, Window(xs, resets, actions, rewards, ys, streams.carry)


def generalized_advantages(
    rewards: Float[Array, "T B"],
    values: Float[Array, "T+1 B"],
    resets: Bool[Array, "T+1 B"],
    discount: float = 0.99,
    decay: float = 0.95,
) -> Float[Array, "T B"]:
    """Generalized advantage estimates of the T steps of a window.

        delta_t = r_t + discount * V_{t+1} - V_t
        A_t = delta_t + discount * decay * A_{t+1}

    The terms of step t+1 are omitted where it starts another episode.

    Args:
      rewards: rewards.
      values: value estimates V of the observations, including the one after the window.
      resets: whether an observation is the first of an episode.
      discount: discount factor of future rewards.
      decay: 0 for one-step estimates, 1 for discounted sums of rewards.

    Reference: Schulman et al. (2016), "High-dimensional continuous control using generalized
    advantage estimation".
    """
    same = 1.0 - resets[1:]
    deltas = rewards + discount * same * values[1:] - values[:-1]

    def step(advantage, inputs):
        delta, same = inputs
        advantage = delta + discount * decay * same * advantage
        return advantage, advantage

    return jax.lax.scan(step, jnp.zeros_like(deltas[0]), (deltas, same), reverse=True)[1]


def last_rewards(
    environment: Environment,
    model: SequenceModel,
    state: Any,
    seeds: Int[Array, " B"],
    steps: int,
) -> Float[Array, " B"]:
    """The last reward of one episode from each of B states; 0 if it takes more than `steps`."""
    streams = new_streams(state, model.rnn.cell)
    _, window = rollout(environment, model, streams, jax.vmap(jax.random.key)(seeds), steps)
    ended = window.resets[1:]
    first = ended & (jnp.cumsum(ended, axis=0) == 1)
    return jnp.sum(first * window.rewards, axis=0)
