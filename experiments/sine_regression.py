"""Follow cosines from sines: many to many, the recurrent state carried from window to window."""

import dataclasses
import functools
from pathlib import Path

from rnn_jax.training.commands.cli import check_at_least, check_at_most, run
from rnn_jax.training.commands.config import TrainConfig

PERIODS = 12.0, 60.0
"""Steps that the shortest and the longest period of a tone take."""
TONES = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Give the sum of the cosines of two tones from that of their sines, step by step.

    Amplitudes, periods and phases differ from stream to stream, and the network is told none of
    them: one sine leaves open where its cosine is, and one short window which tones there are. The
    streams are read in windows; the state goes on from window to window, the gradient does not.
    """

    cell: str = "lstm"
    """The recurrent cell, a name of rnn_jax.CELLS or my_module:MyCell."""
    hidden_size: int = 64
    """Hidden units of the cell."""
    window: int = 20
    """Steps through which a gradient goes back."""
    windows: int = 50
    """Windows of a stream to train on; as many more are held out."""
    steps: int = 4000
    """Training steps, of one window of each stream."""
    reset_state: bool = False
    """Begin each window with an empty state."""
    batch_size: int = 64
    """Streams, over all devices together."""
    learning_rate: float = 3e-3
    """Adam's learning rate."""
    log_every: int = 200
    """Steps between two rows of metrics; the steps between run as one compiled call."""
    out_dir: Path = Path("runs/sine_regression")
    """Folder for results; where the default holds a run, the next free one: -2, -3, ..."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        super().check()
        check_at_least(self, hidden_size=1, window=1, windows=1, steps=1)
        check_at_most(self, hidden_size=10**6, window=10**6, windows=10**6)


def main(config: Config) -> dict:
    """Train, evaluate on the continuation, write the results, and return the summary."""
    config.check()
    from rnn_jax.training.experiment import perform

    return perform(config, prepare)


def prepare(config: Config):
    """The experiment that the flags describe."""
    import numpy as np
    from flax import nnx

    from rnn_jax.cells.registry import find_cell
    from rnn_jax.models.factory import build_sequence_model
    from rnn_jax.training.batches import StreamOrder
    from rnn_jax.training.experiment import Experiment

    length = config.window * config.windows
    sines, cosines = streams(config.seed, config.batch_size, 2 * length)
    xs, targets = (part[:, :length].reshape(-1, config.window) for part in (sines, cosines))
    begins = np.tile(np.arange(config.windows) == 0, config.batch_size) | config.reset_state
    follow = functools.partial(predict, window=config.window if config.reset_state else 2 * length)
    return Experiment(
        build=build_sequence_model,
        facts={"input_size": 1, "output_size": 1},
        source=f"{config.batch_size} streams of {TONES} tones, {length} steps and as many held out",
        loss=loss,
        data=(xs, targets, begins),
        order=StreamOrder(config.windows, config.batch_size),
        memory=find_cell(config.cell, config.hidden_size).initial_carry((config.batch_size,)),
        predict=follow,
        test_data=sines,
        evaluate=functools.partial(_evaluate, cosines),
        verdict="mean squared error {test_mse:.2e} on the continuation",
        draw=functools.partial(_draw, config, sines, cosines),
        live=functools.partial(_look, config, sines, cosines, nnx.jit(follow)),
    )


def streams(seed: int, count: int, length: int):
    """Sums of sines and the sums of their cosines, [count, length] each, of mean square 1/2."""
    import numpy as np

    random = np.random.default_rng(seed)
    period = np.exp(random.uniform(*np.log(PERIODS), (TONES, count, 1)))
    angle = random.uniform(0, 2 * np.pi, (TONES, count, 1)) + 2 * np.pi / period * np.arange(length)
    weight = random.dirichlet(np.ones(TONES), count).T[..., None] ** 0.5
    return tuple((weight * wave(angle)).sum(0).astype(np.float32) for wave in (np.sin, np.cos))


def loss(model, batch, keys, memory):
    """Mean squared error of a window of each stream, begun where the window before it ended."""
    del keys
    xs, targets, begins = batch
    carry, ys = model(xs.T[..., None], model.reset_carry(memory, begins))
    return ((ys[..., 0] - targets.T) ** 2).mean(), ({}, carry)


def predict(model, xs, window):
    """The outputs [B, T] for streams [B, T], begun anew every `window` steps."""
    _, ys = model(xs.reshape(-1, window).T[..., None])
    return ys[..., 0].T.reshape(xs.shape)


def _evaluate(cosines, outputs):
    errors = (outputs - cosines)[:, cosines.shape[1] // 2 :]
    return {"test_mse": float((errors**2).mean())}


def _signals(config, sines, cosines, outputs, title):
    """The figure of what was held out of each stream."""
    from rnn_jax.plotting.time_series import signals_figure

    return signals_figure(sines, cosines, outputs, sines.shape[1] // 2, config.window, title)


def _look(config, sines, cosines, follow, model, row):
    """The first two streams, followed as well as the network can by now."""
    outputs = follow(model, sines[:2])
    title = f"After {row['step']:,} of {config.steps:,} steps"
    return {"signals.png": _signals(config, sines[:2], cosines[:2], outputs, title)}


def _draw(config, sines, cosines, result):
    from rnn_jax.plotting.training import training_figure

    summary = result.summary
    memory = "state reset" if config.reset_state else "state carried"
    title = f"{summary['cell'].upper()} on {TONES} tones, {memory}, seed {summary['seed']}"
    followed = f"{title}: squared error {summary['test_mse']:.1e}"
    return {
        "training.png": training_figure(result.rows, title, loss_name="squared error"),
        "signals.png": _signals(config, sines, cosines, result.outputs, followed),
    }


if __name__ == "__main__":
    run(main, Config)
