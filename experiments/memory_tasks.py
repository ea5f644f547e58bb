"""Compare the memory of cells on the adding problem and the copy task."""

import dataclasses
import functools
import time
from pathlib import Path

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, writing
from rnn_jax.training.commands.cli import check_at_least, check_positive, run
from rnn_jax.training.runs.jsonl import append_rows, read_rows, resume_rows
from rnn_jax.training.runs.provenance import provenance

ROWS = "memory_tasks.jsonl"
SETTINGS = (
    *("max_steps", "criterion", "check_every", "test_examples"),
    *("batch_size", "learning_rate", "clip_norm"),
)
"""Options of training that all rows share."""
KEYS = ("task", "cell", "T", "seed", "solved", "steps", "errors", "criterion", "max_steps")
"""Entries of each row that the tables and the figure use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Train each cell on each task and length, with several seeds, until it solves the task.

    Adding: the sum of the two marked numbers among T; the constant answer 1 has a mean squared
    error of 1/6. Copy: repeat the first 10 of T symbols at the end; a guess is wrong 7 times out of
    8.

    Rows in --out-dir are kept: an interrupted grid continues where it stopped, and a larger grid
    adds to a smaller one. A grid with other settings in that folder is moved aside.
    """

    cells: tuple[str, ...] = ("rnn", "gru", "lstm", "lstm:chrono", "mingru", "mingru:chrono")
    """Names in rnn_jax.CELLS, name:init, or my_module:MyCell; lstm:chrono initializes the gates for
    time constants of 1 to T steps."""
    adding: tuple[int, ...] = (50, 200, 400)
    """Lengths T of the adding problem; the flag without values omits the task."""
    copy: tuple[int, ...] = (30, 100)
    """Lengths T of the copy task, including 20 steps for reading and writing the symbols."""
    seeds: int = 1
    """Number of random seeds, of parameters and examples."""
    hidden_size: int = 128
    """Hidden units of each cell."""
    max_steps: int = 2000
    """Number of training steps after which a task counts as not solved."""
    criterion: float = 0.01
    """A task is solved when the mean squared error, or the fraction of wrong symbols, is below."""
    check_every: int = 100
    """Number of training steps between two tests."""
    test_examples: int = 500
    """Number of new examples per test."""
    batch_size: int = 32
    """Number of new examples per training step."""
    learning_rate: float = 5e-3
    """Adam's learning rate."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient, which is scaled down to it."""
    devices: int = 0
    """Number of CPU cores, GPUs or TPUs; 0 for the largest number that divides the batch."""
    replot: bool = False
    """Only plot the figure and print the table of the rows in --out-dir."""
    out_dir: Path = Path("runs/memory_tasks")
    """Folder for results."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        counts = "seeds", "hidden_size", "max_steps", "check_every", "test_examples", "batch_size"
        check_at_least(self, **dict.fromkeys(counts, 1), devices=0)
        check_positive(self, "criterion", "learning_rate", "clip_norm")
        if not (self.cells and (self.adding or self.copy)):
            raise InputError("there is nothing to train; give --cells and --adding or --copy.")


def main(config: Config) -> list[dict]:
    """Train all points without a row, write rows and figure, print the tables; return all rows."""
    folder = local_path(config.out_dir)
    if config.replot:
        return _show(folder)
    config.check()
    points = _points(config)
    from rnn_jax.training.runs.run_dir import exclusive

    with exclusive(folder) as out:
        _train(config, points, out)
        return _show(folder)


def _show(folder):
    """Print the tables and plot the figure of the rows in a folder; return the rows."""
    import memory_report
    from train_until_solved import Point

    from rnn_jax.plotting import style

    path, figure = folder / ROWS, folder / "success.png"
    found = {}
    for row in read_rows(path, KEYS):
        found.setdefault(tuple(row[name] for name in Point._fields), row)
    rows = list(found.values())
    if not rows:
        raise InputError(f"{path} holds no rows; train without --replot first.")
    print("\n".join(memory_report.summary(rows)))
    with writing(figure):
        style.save(memory_report.success_figure(rows), figure)
    print(f"wrote    {path}\nwrote    {figure}")
    return rows


def _points(config):
    import train_until_solved

    from rnn_jax.training.devices import sharding

    sharding.start_devices(config.devices)
    lengths = {"adding": config.adding, "copy": config.copy}
    return train_until_solved.grid(config.cells, lengths, config.seeds, config.hidden_size)


def _train(config, points, out):
    import memory_report
    import train_until_solved

    from rnn_jax.datasets import memory_tasks
    from rnn_jax.training.devices import sharding

    devices = sharding.data_mesh(config.batch_size, config.devices)
    settings = {name: getattr(config, name) for name in SETTINGS}

    @functools.lru_cache(maxsize=1)
    def compiled(cell, task, T):
        return train_until_solved.make_attempt(
            cell, memory_tasks.TASKS[task], T, devices=devices, **settings
        )

    shared = settings | {"hidden_size": config.hidden_size}
    found = provenance() | {"device_count": devices.size}
    rows = resume_rows(out, ROWS, shared, found, KEYS)
    done = {tuple(row[name] for name in train_until_solved.Point._fields) for row in rows}
    for number, point in enumerate(points, 1):
        if point in done:
            continue
        cell, init = train_until_solved.cell_and_init(point.cell, config.hidden_size, point.T)
        start = time.perf_counter()
        result = compiled(cell, point.task, point.T)(point.seed, init)
        row = point._asdict() | result._asdict() | {"seconds": time.perf_counter() - start}
        append_rows(out.path / ROWS, [row | shared | found])
        print(f"{number:3d}/{len(points)}  {memory_report.describe(row)}", flush=True)


if __name__ == "__main__":
    run(main, Config)
