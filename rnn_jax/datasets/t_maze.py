"""The T-maze, a memory task for reinforcement learning, as pure functions of a single maze."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Bool, Float, Int, Key

ACTIONS = NORTH, EAST, SOUTH, WEST = range(4)
SIGHTS = (0, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 0)
"""Observations: the signs for a goal in the north and in the south, the corridor, the junction."""
GOAL_REWARD, WALL_REWARD = 4.0, -0.1
"""Reward of the correct turn, and of a wrong turn or a step into a wall; 0 for other steps."""


class MazeState(NamedTuple):
    """State of a T-maze.

    Attributes:
      length: steps from the start to the junction.
      place: steps from the start to the agent.
      south: whether the goal lies in the south.
    """

    length: Int[Array, ""]
    place: Int[Array, ""]
    south: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class TMaze:
    """A corridor with a sign at its start and a junction at its end.

    The sign, visible only at the start, shows whether to turn north or south at the junction.
    Either turn ends the episode. Every episode has a new goal and a new length, uniform in
    [shortest, longest]; in the paper, the length is fixed.

    Args:
      shortest, longest: the range of the number of steps from the start to the junction.

    Raises:
      InputError: a number below 1, or an empty range.

    Reference: Bakker (2001), "Reinforcement learning with long short-term memory".
    """

    shortest: int
    longest: int
    input_size = len(SIGHTS[0])
    actions = len(ACTIONS)

    def __post_init__(self):
        check_size("shortest", self.shortest)
        check_size("longest", self.longest)
        if self.longest < self.shortest:
            raise InputError(
                f"longest must be at least shortest, {self.shortest}; got {self.longest}."
            )

    def reset(self, key: Key[Array, ""]) -> MazeState:
        """Start an episode."""
        key, goal = jax.random.split(key)
        length = jax.random.randint(key, (), self.shortest, self.longest + 1)
        return MazeState(length, jnp.zeros_like(length), jax.random.bernoulli(goal))

    def observe(self, state: MazeState) -> Float[Array, " D"]:
        """The observation at the current position: 3 values."""
        along = jnp.where(state.place == state.length, 3, 2)
        sight = jnp.where(state.place == 0, state.south.astype(along.dtype), along)
        return jnp.array(SIGHTS, jnp.float32)[sight]

    def step(
        self, state: MazeState, action: Int[Array, ""]
    ) -> tuple[MazeState, Float[Array, ""], Bool[Array, ""]]:
        """The next state, the reward, and whether the episode is over."""
        turns = (action == NORTH) | (action == SOUTH)
        done = turns & (state.place == state.length)
        ahead = jnp.where(action == EAST, 1, jnp.where(action == WEST, -1, 0))
        place = jnp.clip(state.place + ahead, 0, state.length)
        at_wall = place == state.place
        won = done & ((action == SOUTH) == state.south)
        reward = jnp.where(won, GOAL_REWARD, jnp.where(at_wall, WALL_REWARD, 0.0))
        return state._replace(place=place), reward, done
