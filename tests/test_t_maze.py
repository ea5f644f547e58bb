"""The T-maze: its rules, an agent that learns to remember, and resuming."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cut import cut_and_resumed, rows
from t_maze import Config, main

from rnn_jax import InputError, load_run
from rnn_jax.datasets.t_maze import EAST, NORTH, SOUTH, WEST, MazeState, TMaze
from rnn_jax.plotting.t_maze import summary as table

SMALL = {"corridor": 3, "varied": True, "hidden_size": 16, "window": 16, "batch_size": 32}
BRIEF = SMALL | {"steps": 4, "log_every": 2, "corridor": 2}
MAZE = TMaze(2, 6)


def walk(maze, state, actions):
    """Observations before each action and after the last one, rewards, and ends."""
    seen, rewards, ends = [maze.observe(state).tolist()], [], []
    for action in actions:
        state, reward, done = maze.step(state, jnp.int32(action))
        seen.append(maze.observe(state).tolist())
        rewards.append(float(reward))
        ends.append(bool(done))
    return seen, rewards, ends


@pytest.mark.parametrize("south", [False, True])
def test_the_sign_is_seen_at_the_start_alone_and_names_the_right_turn(south):
    state = MazeState(jnp.int32(2), jnp.int32(0), jnp.array(south))
    sign = [1, 1, 0] if south else [0, 1, 1]
    right, wrong = (SOUTH, NORTH) if south else (NORTH, SOUTH)
    seen, rewards, ends = walk(MAZE, state, [EAST, EAST, right])
    assert seen[:3] == [sign, [1, 0, 1], [0, 1, 0]]
    assert rewards == [0, 0, 4] and ends == [False, False, True]
    _, rewards, ends = walk(MAZE, state, [EAST, EAST, wrong])
    np.testing.assert_allclose(rewards, [0, 0, -0.1])
    assert ends == [False, False, True]


def test_a_step_into_a_wall_costs_and_does_not_move():
    state = MazeState(jnp.int32(1), jnp.int32(0), jnp.array(False))
    seen, rewards, ends = walk(MAZE, state, [WEST, NORTH, SOUTH, EAST, EAST, WEST])
    assert [sight == [0, 1, 1] for sight in seen] == [True] * 4 + [False] * 2 + [True]
    np.testing.assert_allclose(rewards, [-0.1, -0.1, -0.1, 0, -0.1, 0])
    assert not any(ends)


def test_episodes_start_with_any_length_and_either_goal():
    states = jax.vmap(MAZE.reset)(jax.random.split(jax.random.key(0), 400))
    assert np.unique(states.length).tolist() == [2, 3, 4, 5, 6]
    assert not states.place.any()
    np.testing.assert_allclose(states.south.mean(), 0.5, atol=0.08)


@pytest.mark.parametrize(
    "lengths, words", [((0, 2), "shortest must be a positive"), ((3, 2), "longest must be at le")]
)
def test_an_impossible_range_of_lengths_is_one_sentence(lengths, words):
    with pytest.raises(InputError, match=words) as error:
        TMaze(*lengths)
    assert "\n" not in str(error.value)


def test_an_agent_learns_to_remember_the_sign(tmp_path):
    more = {"steps": 600, "log_every": 300, "learning_rate": 0.01, "devices": 1}
    summary = main(Config(**SMALL | more, out_dir=tmp_path))
    assert summary["success"] > 0.9 and len(summary["rates"]) == 6
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    for name in ("training.png", "success.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    model, _ = load_run(tmp_path)
    state = MazeState(jnp.int32(3), jnp.int32(0), jnp.array(True))
    carry, actions = None, []
    for _ in range(4):
        carry, h = model.rnn.step(MAZE.observe(state), carry)
        actions.append(int(model.output(h)[:-1].argmax()))
        state, reward, _ = MAZE.step(state, jnp.int32(actions[-1]))
    assert actions == [EAST, EAST, EAST, SOUTH] and reward == 4


def test_a_run_that_is_cut_off_resumes_exactly(tmp_path):
    whole = main(Config(**BRIEF, out_dir=tmp_path / "whole"))
    cut = cut_and_resumed(main, Config(**BRIEF, out_dir=tmp_path / "cut"), 2)
    assert cut["rates"] == whole["rates"]
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_the_table_has_a_line_for_each_cell_and_kind_of_training():
    found = [
        {"cell": cell, "varied": varied, "rates": [1.0, rate]}
        for cell, varied, rate in (("gru", False, 0.5), ("gru", False, 0.7), ("rnn", True, 1.0))
    ]
    lines = table(found, lengths=(2,))
    assert "| gru | N | 2 | 60% (50% to 70%) |" in lines
    assert "| rnn | 1 to N | 1 | 100% (100% to 100%) |" in lines
