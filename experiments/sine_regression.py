"""Predict cosines from sines: many to many, with the state carried from window to window."""

import dataclasses
import functools
import time
from pathlib import Path

from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, TrainConfig, own_options_first
from rnn_jax.training.commands.ranges import Count, Positive, Size

LIVE_SECONDS = 1
"""Minimum time between two figures during training [s]."""
VERDICT = "mean squared error {test_mse:.2e} on the continuation"


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, TrainConfig):
    """Predict the sum of the cosines of two tones from the sum of their sines, step by step.

    Amplitudes, periods and phases differ between streams and are not inputs of the network. A
    single value of a sine does not determine its cosine, and a short window does not determine the
    tones. The streams are read in windows. The state carries over from window to window; the
    gradient does not. The default run takes about 10 seconds on two CPU cores.
    """

    hidden_size: Size = 64
    window: Size = 20
    """Length of a window [steps], over which gradients are backpropagated."""
    windows: Size = 50
    """Number of training windows per stream; the same number is held out."""
    steps: Count = 4000
    """Number of training steps, each on one window of every stream."""
    reset_state: bool = False
    """Reset the state at the start of each window."""
    batch_size: Count = 64
    """Number of streams, over all devices together."""
    learning_rate: Positive = 3e-3
    log_every: Count = 200
    out_dir: Path = Path("runs/sine_regression")


def main(config: Config) -> dict:
    """Train, evaluate on the continuation, write the results, and return the summary."""
    config.check()
    import numpy as np
    from flax import nnx

    from rnn_jax import training
    from rnn_jax.cells.registry import find_cell
    from rnn_jax.datasets.tones import TONES, streams
    from rnn_jax.models.factory import build_sequence_model
    from rnn_jax.plotting.time_series import signals_figure
    from rnn_jax.plotting.training import training_figure

    with training.open_run(config) as run:
        # Data
        length = config.window * config.windows
        sines, cosines = streams(config.seed, config.batch_size, 2 * length)
        xs, targets = (part[:, :length].reshape(-1, config.window) for part in (sines, cosines))
        begins = np.tile(np.arange(config.windows) == 0, config.batch_size) | config.reset_state
        train = xs, targets, begins
        order = training.StreamOrder(config.windows, config.batch_size)

        # Model
        name = f"{config.batch_size} streams of {TONES} tones, {length} steps and as many held out"
        data = {"data": (train, sines), "source": name}
        create = run.describe(build_sequence_model, **data, input_size=1, output_size=1)
        carry = find_cell(config.cell, config.hidden_size).initial_carry((config.batch_size,))

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed, carry)
        step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_step_limit)

        # Training, with a figure of two streams, updated at most once per second
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        window = config.window if config.reset_state else 2 * length
        follow = functools.partial(predict, window=window)
        outputs_of = trainer.compile_predict(graphdef, follow, state, sines)
        follow_now = nnx.jit(follow)
        signals = functools.partial(signals_figure, sines, cosines, length, config.window)
        shown = time.monotonic()
        for state, row in trainer.run(state, train):  # noqa: B020
            if run.writes and time.monotonic() - shown >= LIVE_SECONDS:
                outputs = follow_now(training.model_of(graphdef, state), sines[:2])
                title = f"After {row['step']:,} of {config.steps:,} steps"
                run.save_figures({"signals.png": signals(outputs, title)})
                shown = time.monotonic()

        # Evaluation
        outputs = outputs_of(state)
        errors = (outputs - cosines)[:, length:]
        summary = trainer.summarize(state, test_mse=float((errors**2).mean()))

        # Figures
        if run.writes:
            kept = "state reset" if config.reset_state else "state carried"
            title = f"{config.cell.upper()} on {TONES} tones, {kept}, seed {config.seed}"
            error = f"{title}: squared error {summary['test_mse']:.1e}"
            curve = training_figure(trainer.rows, title, loss_name="squared error")
            run.save_figures({"training.png": curve, "signals.png": signals(outputs, error)})
        return trainer.finish(summary)


def loss(model, batch, keys, carry):
    """Mean squared error of a window of each stream, which starts where the last window ended."""
    del keys
    xs, targets, begins = batch
    carry, ys = model(xs.T[..., None], model.reset_carry(carry, begins))
    return ((ys[..., 0] - targets.T) ** 2).mean(), {}, carry


def predict(model, xs, window):
    """The outputs [B, T] for streams [B, T], with the state reset every `window` steps."""
    _, ys = model(xs.reshape(-1, window).T[..., None])
    return ys[..., 0].T.reshape(xs.shape)


if __name__ == "__main__":
    run(main, Config)
