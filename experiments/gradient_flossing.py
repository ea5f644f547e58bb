"""Train a simple recurrent network on tasks with a delay, with and without gradient flossing."""

import dataclasses
from pathlib import Path
from typing import Literal, get_args

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, writing
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Count, NonNegative, Positive, check_ranges
from rnn_jax.training.runs.provenance import provenance

Task = Literal["copy", "xor"]
Method = Literal["none", "before", "during", "penalty"]
ROWS = "gradient_flossing.jsonl"
SETTINGS = (
    *("hidden_size", "criterion", "max_steps", "check_every", "batch_size"),
    *("learning_rate", "floss_exponents", "floss_steps", "floss_again", "floss_rate", "penalty"),
)
"""Options of training that all rows share."""
POINT = "task", "delay", "method", "seed"
KEYS = (*POINT, "solved", "steps", "errors", "exponents", "criterion", "floss_exponents")
"""Entries that identify a row, and all entries that the table and the figure use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Train an RNN on each task and delay, with several seeds, until it solves the task.

    At every step, the target of copy is the bit from `delay` steps ago; for xor it is whether that
    bit and the one from half the delay ago differ. Gradient flossing moves Lyapunov exponents to
    zero by separate steps. All methods start from the same parameters and see the same examples.

    Rows in --out-dir are kept: an interrupted grid continues where it stopped, and a larger grid
    adds to a smaller one. A grid with different settings in that folder is moved aside.
    """

    tasks: tuple[Task, ...] = get_args(Task)
    """Delayed copy and delayed XOR of bits."""
    delays: tuple[int, ...] = (10, 20, 40)
    """Numbers of steps from input to output; sequences are twice as long."""
    methods: tuple[Method, ...] = get_args(Method)
    """Flossing before, or before and during training; penalty on changes of the gradient norm."""
    seeds: Count = 5
    """Number of random seeds, of parameters and examples."""
    hidden_size: Count = 80
    """Hidden units."""
    criterion: Positive = 0.05
    """A task is solved when the fraction of wrong bits is below this value; chance level is 0.5."""
    max_steps: Count = 3000
    """Number of training steps after which a task counts as unsolved."""
    check_every: Count = 100
    """Number of training steps between two tests."""
    batch_size: Count = 16
    """Number of new examples per training step."""
    learning_rate: Positive = 1e-3
    """Adam's learning rate; gradients are clipped to norm 1."""
    floss_exponents: Count = 75
    """Number of leading Lyapunov exponents to move to zero."""
    floss_steps: Count = 200
    """Number of flossing steps before training."""
    floss_again: Count = 4
    """Number of flossing steps after each test, for flossing during training."""
    floss_rate: Positive = 3e-3
    """Adam's learning rate for flossing; gradients are clipped to norm 1."""
    penalty: NonNegative = 1.0
    """Weight of the norm-preserving regularizer."""
    replot: bool = False
    """Only plot the figure and print the table of the rows in --out-dir."""
    out_dir: Path = Path("runs/gradient_flossing")
    """Folder for results."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        check_ranges(self)
        if not (self.tasks and self.delays and self.methods):
            raise InputError("there is nothing to train; give --tasks, --delays and --methods.")
        if not all(2 <= delay <= 10**6 for delay in self.delays):
            raise InputError(f"--delays must be 2 to 1,000,000 steps, got {self.delays}.")
        if (count := self.floss_exponents) > self.hidden_size:
            raise InputError(f"--floss-exponents must be at most --hidden-size, got {count}.")


def main(config: Config) -> list[dict]:
    """Train all points without a row, write rows and figure, print the table; return all rows."""
    folder = local_path(config.out_dir)
    if config.replot:
        return show(folder)
    config.check()
    from rnn_jax.plotting import gradient_flossing
    from rnn_jax.training import flossing
    from rnn_jax.training.devices import sharding
    from rnn_jax.training.grids import train_missing
    from rnn_jax.training.runs.run_dir import exclusive

    sharding.start_devices(1)
    points = flossing.grid(config.tasks, config.delays, config.methods, config.seeds)
    with exclusive(folder) as out:
        devices = sharding.data_mesh(config.batch_size, 1)
        settings = {name: getattr(config, name) for name in SETTINGS}
        train_missing(
            out,
            ROWS,
            points,
            lambda missing: flossing.solve(missing, devices, **settings),
            settings=settings,
            found=provenance() | {"device_count": devices.size},
            keys=KEYS,
            describe=gradient_flossing.describe,
        )
        return show(folder)


def show(folder):
    """Print the table and plot the figure of the rows in a folder; return the rows."""
    from rnn_jax.plotting import gradient_flossing, style
    from rnn_jax.training.grids import latest_rows

    path, figure = folder / ROWS, folder / "flossing.png"
    rows = latest_rows(path, POINT, KEYS)
    print("\n".join(gradient_flossing.summary(rows)))
    with writing(figure):
        style.save(gradient_flossing.flossing_figure(rows), figure)
    print(f"wrote    {path}\nwrote    {figure}")
    return rows


if __name__ == "__main__":
    run(main, Config)
