"""Learn to remember a sign in a T-maze: a recurrent actor-critic."""

import dataclasses
from functools import partial
from pathlib import Path

from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, Schedule, TrainConfig, own_options_first
from rnn_jax.training.commands.ranges import Count, NonNegative, Positive, Size

EPISODES = 100  # Test episodes for each length.
VERDICT = "{success:.1%} of turns right after {corridor} steps"


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, TrainConfig):
    """Train a recurrent agent in T-mazes by reinforcement learning, and test its memory.

    A sign at the start of a corridor indicates which way to turn at its end. An agent without
    memory is right half of the time. The default run takes half a minute on two CPU cores.
    """

    cell: str = "gru"
    """Recurrent cell: a name in rnn_jax.CELLS, or my_module:MyCell."""
    hidden_size: Size = 32
    corridor: Size = 30
    """Steps from the start to the junction; tests use up to twice as many."""
    varied: bool = False
    """Draw the length of each training episode from 1 to --corridor."""
    window: Size = 40
    """Steps of each environment between two updates, over which gradients are backpropagated."""
    discount: Positive = 0.98
    """Discount factor of future rewards."""
    entropy: NonNegative = 0.01
    """Weight of the entropy of the policy in the loss."""
    steps: Count = 1500
    """Number of updates."""
    batch_size: Count = 32
    """Number of environments, over all devices together."""
    learning_rate: Positive = 3e-3
    schedule: Schedule = "cosine"
    clip_norm: NonNegative = 1.0
    log_every: Count = 100
    out_dir: Path = Path("runs/t_maze")


def main(config: Config) -> dict:
    """Train, test, write the results, and return the summary."""
    config.check()
    import jax
    import numpy as np

    from rnn_jax import training
    from rnn_jax.cells.registry import find_cell
    from rnn_jax.datasets.t_maze import MazeState, TMaze
    from rnn_jax.models.factory import build_sequence_model
    from rnn_jax.plotting.t_maze import reward_figure, success_figure
    from rnn_jax.training.rollouts import new_streams

    with training.open_run(config) as run:
        # Environments: an example is a stream of episodes, and a test is one episode
        maze = TMaze(1 if config.varied else config.corridor, config.corridor)
        keys = jax.random.split(jax.random.key(config.seed), config.batch_size)
        cell = find_cell(config.cell, config.hidden_size)
        streams, train = new_streams(jax.vmap(maze.reset)(keys), cell), np.arange(len(keys))
        lengths = np.repeat(np.arange(1, 2 * config.corridor + 1, dtype=np.int32), EPISODES)
        numbers = np.arange(len(lengths))
        test = MazeState(lengths, 0 * lengths, numbers % 2 == 1), numbers
        order = training.StreamOrder(1, config.batch_size)

        # Model: the logits of the actions, and the value
        sizes = {"input_size": maze.input_size, "output_size": maze.actions + 1}
        create = run.describe(build_sequence_model, data=(train, test), source=str(maze), **sizes)

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed, streams)
        a2c = partial(loss, maze=maze, config=config)
        step = training.make_train_step(graphdef, a2c, optimizer, run.mesh, config.bad_step_limit)

        # Training
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        turns = partial(turns_right, maze=maze, steps=4 * config.corridor)
        turns_of = trainer.compile_predict(graphdef, turns, state, test)
        state = trainer.train(state, train)

        # Evaluation
        rates = turns_of(state).reshape(-1, EPISODES).mean(1).tolist()
        summary = trainer.summarize(state, success=rates[config.corridor - 1], rates=rates)

        # Figures
        if run.writes:
            title = f"{config.cell.upper()}, seed {config.seed}: {VERDICT.format(**summary)}"
            curve, success = reward_figure(trainer.rows, title), success_figure([summary], title)
            run.save_figures({"training.png": curve, "success.png": success})
        return trainer.finish(summary)


def loss(model, _, keys, streams, *, maze, config):
    """Advantage actor-critic: the losses of policy and value on a new window of each stream."""
    import jax
    import jax.numpy as jnp

    from rnn_jax.training.rollouts import generalized_advantages, rollout

    streams, window = rollout(maze, model, streams, keys, config.window)
    _, ys = model(window.xs, window.carry, resets=window.resets)
    logits, values = jax.nn.log_softmax(ys[:-1, :, :-1]), ys[..., -1]
    fixed = jax.lax.stop_gradient(values)
    advantages = generalized_advantages(window.rewards, fixed, window.resets, config.discount)
    chosen = jnp.take_along_axis(logits, window.actions[..., None], -1)[..., 0]
    entropy = -(jnp.exp(logits) * logits).sum(-1).mean()
    error = ((values[:-1] - fixed[:-1] - advantages) ** 2).mean()
    value = -(chosen * advantages).mean() + error / 2 - config.entropy * entropy
    return value, {"batch_reward": window.rewards.mean(), "entropy": entropy}, streams


def turns_right(model, batch, *, maze, steps):
    """True for a correct turn at the end of a maze [B], for new mazes [B] and their seeds [B]."""
    from rnn_jax.training.rollouts import last_rewards

    return last_rewards(maze, model, *batch, steps) > 0


if __name__ == "__main__":
    run(main, Config)
