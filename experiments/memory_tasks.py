"""Compare the memory of cells on the adding problem and the copy task."""

import dataclasses
from pathlib import Path

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, writing
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Count, Natural, Positive, check_ranges
from rnn_jax.training.runs.provenance import provenance

ROWS = "memory_tasks.jsonl"
SETTINGS = (
    *("max_steps", "criterion", "check_every", "test_examples"),
    *("batch_size", "learning_rate", "clip_norm"),
)
"""Options of training that all rows share."""
POINT = "task", "T", "cell", "seed"
"""Entries that identify a row."""
KEYS = (*POINT, "solved", "steps", "errors", "criterion", "max_steps")
"""Entries of each row that the tables and the figure use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Train each cell on each task and length, with several seeds, until it solves the task.

    Adding: the sum of the two marked numbers among T; the constant answer 1 has a mean squared
    error of 1/6. Copy: repeat the first 10 of T symbols at the end; 7 of 8 guesses are wrong.

    Rows in --out-dir are kept: an interrupted grid continues where it stopped, and a larger grid
    adds to a smaller one. A grid with different settings in that folder is moved aside.
    """

    cells: tuple[str, ...] = ("rnn", "gru", "lstm", "lstm:chrono", "mingru", "mingru:chrono")
    """Names in rnn_jax.CELLS, name:init, or my_module:MyCell; lstm:chrono initializes the gates for
    time constants of 1 to T steps."""
    adding: tuple[int, ...] = (50, 200, 400)
    """Lengths T of the adding problem; the flag without values omits the task."""
    copy: tuple[int, ...] = (30, 100)
    """Lengths T of the copy task, including 20 steps for reading and writing the symbols."""
    seeds: Count = 1
    """Number of random seeds, of parameters and examples."""
    hidden_size: Count = 128
    """Hidden units of each cell."""
    max_steps: Count = 2000
    """Number of training steps after which a task counts as unsolved."""
    criterion: Positive = 0.01
    """A task is solved when its mean squared error, or fraction of wrong symbols, is below this."""
    check_every: Count = 100
    """Number of training steps between two tests."""
    test_examples: Count = 500
    """Number of new examples per test."""
    batch_size: Count = 32
    """Number of new examples per training step."""
    learning_rate: Positive = 5e-3
    """Adam's learning rate."""
    clip_norm: Positive = 1.0
    """Maximum global norm of the gradient; larger gradients are scaled down to it."""
    devices: Natural = 0
    """Number of CPU cores, GPUs or TPUs; 0 for the largest number that divides the batch."""
    replot: bool = False
    """Only plot the figure and print the table of the rows in --out-dir."""
    out_dir: Path = Path("runs/memory_tasks")
    """Folder for results."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        check_ranges(self)
        if not (self.cells and (self.adding or self.copy)):
            raise InputError("there is nothing to train; give --cells and --adding or --copy.")


def main(config: Config) -> list[dict]:
    """Train all points without a row, write rows and figure, print the tables; return all rows."""
    folder = local_path(config.out_dir)
    if config.replot:
        return show(folder)
    config.check()
    from rnn_jax.training import until_solved
    from rnn_jax.training.devices import sharding
    from rnn_jax.training.runs.run_dir import exclusive

    sharding.start_devices(config.devices)
    lengths = {"adding": config.adding, "copy": config.copy}
    points = until_solved.grid(config.cells, lengths, config.seeds, config.hidden_size)
    with exclusive(folder) as out:
        train(config, points, out)
        return show(folder)


def train(config, points, out):
    """Train the points that have no row yet, and append their rows."""
    from rnn_jax.plotting import memory_tasks
    from rnn_jax.training import until_solved
    from rnn_jax.training.devices import sharding
    from rnn_jax.training.grids import train_missing

    devices = sharding.data_mesh(config.batch_size, config.devices)
    settings = {name: getattr(config, name) for name in SETTINGS}
    train_missing(
        out,
        ROWS,
        points,
        lambda missing: until_solved.solve(missing, config.hidden_size, devices, **settings),
        settings=settings | {"hidden_size": config.hidden_size},
        found=provenance() | {"device_count": devices.size},
        keys=KEYS,
        describe=memory_tasks.describe,
    )


def show(folder):
    """Print the tables and plot the figure of the rows in a folder; return the rows."""
    from rnn_jax.plotting import memory_tasks, style
    from rnn_jax.training.grids import latest_rows

    path, figure = folder / ROWS, folder / "success.png"
    rows = latest_rows(path, POINT, KEYS)
    print("\n".join(memory_tasks.summary(rows)))
    with writing(figure):
        style.save(memory_tasks.success_figure(rows), figure)
    print(f"wrote    {path}\nwrote    {figure}")
    return rows


if __name__ == "__main__":
    run(main, Config)
