"""Predict cosines from sines: many to many, with the state carried from window to window."""

import dataclasses
import functools
import time
from pathlib import Path

from rnn_jax.training.commands.cli import check_at_least, check_at_most, run
from rnn_jax.training.commands.config import TrainConfig, own_options_first

PERIODS = 12.0, 60.0
"""Shortest and longest period of a tone [steps]."""
TONES = 2
LIVE_SECONDS = 1
"""Shortest time between two figures during training."""
VERDICT = "mean squared error {test_mse:.2e} on the continuation"


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Predict the sum of the cosines of two tones from the sum of their sines, step by step.

    Amplitudes, periods and phases differ between streams and are not inputs of the network. A
    single value of a sine does not determine its cosine, and a short window does not determine the
    tones. The streams are read in windows. The state carries over from window to window, the
    gradient does not. The default run takes about 10 seconds on two CPU cores.
    """

    cell: str = "lstm"
    """Recurrent cell: a name in rnn_jax.CELLS, or my_module:MyCell."""
    hidden_size: int = 64
    """Hidden units of the cell."""
    window: int = 20
    """Length of a window [steps], through which the gradient is backpropagated."""
    windows: int = 50
    """Windows of each stream for training; as many more are held out."""
    steps: int = 4000
    """Number of training steps, each on one window of every stream."""
    reset_state: bool = False
    """Reset the state at the start of each window."""
    batch_size: int = 64
    """Number of streams, over all devices together."""
    learning_rate: float = 3e-3
    """Learning rate; the highest one of a schedule."""
    log_every: int = 200
    """Steps between two rows of metrics; the steps in between run as one compiled call."""
    out_dir: Path = Path("runs/sine_regression")
    """Folder for results; if the default one holds a run, the next free one: -2, -3, ..."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        super().check()
        check_at_least(self, hidden_size=1, window=1, windows=1, steps=1)
        check_at_most(self, hidden_size=10**6, window=10**6, windows=10**6)


def main(config: Config) -> dict:
    """Train, evaluate on the continuation, write the results, and return the summary."""
    config.check()
    import numpy as np
    from flax import nnx

    from rnn_jax import training
    from rnn_jax.cells.registry import find_cell
    from rnn_jax.models.factory import build_sequence_model
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
        settings = run.describe(build_sequence_model, **data, input_size=1, output_size=1)
        create = functools.partial(build_sequence_model, settings)
        carry = find_cell(config.cell, config.hidden_size).initial_carry((config.batch_size,))

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed, carry)
        step = training.make_train_step(
            graphdef, loss, optimizer, run.mesh, config.bad_steps_allowed
        )

        # Training, with a figure of two streams, updated at most every second
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        window = config.window if config.reset_state else 2 * length
        follow = functools.partial(predict, window=window)
        outputs_of = trainer.compile_predict(graphdef, follow, state, sines)
        follow_now, plot = nnx.jit(follow), functools.partial(signals, config, sines, cosines)
        shown = time.monotonic()
        for state, row in trainer.run(state, train):  # noqa: B020
            if run.writes and time.monotonic() - shown >= LIVE_SECONDS:
                outputs = follow_now(training.model_of(graphdef, state), sines[:2])
                title = f"After {row['step']:,} of {config.steps:,} steps"
                run.save_figures({"signals.png": plot(outputs, title)})
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
            run.save_figures({"training.png": curve, "signals.png": plot(outputs, error)})
        return trainer.finish(summary)


def streams(seed: int, count: int, length: int):
    """Sums of sines and the sums of their cosines, [count, length] each, of mean square 1/2."""
    import numpy as np

    random = np.random.default_rng(seed)
    period = np.exp(random.uniform(*np.log(PERIODS), (TONES, count, 1)))
    angle = random.uniform(0, 2 * np.pi, (TONES, count, 1)) + 2 * np.pi / period * np.arange(length)
    weight = random.dirichlet(np.ones(TONES), count).T[..., None] ** 0.5
    return tuple((weight * wave(angle)).sum(0).astype(np.float32) for wave in (np.sin, np.cos))


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


def signals(config, sines, cosines, outputs, title):
    """The figure of the first streams, before and after the end of training data."""
    from rnn_jax.plotting.time_series import signals_figure

    shown = slice(len(outputs))
    length = sines.shape[1] // 2
    return signals_figure(sines[shown], cosines[shown], outputs, length, config.window, title)


if __name__ == "__main__":
    run(main, Config)
