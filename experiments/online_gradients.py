"""Train on a stream with online gradients, and compare them with truncated backpropagation."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, writing
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Count, Positive, Range, Size, check_ranges
from rnn_jax.training.runs.provenance import provenance

Estimator = Literal["bptt", "uoro", "rflo", "snap1", "rtrl"]
ROWS, MEMORY = "online_gradients.jsonl", "online_gradients_memory.jsonl"
SIZES = "hidden_size", "delay", "window", "batch_size", "learning_rate", "clip_norm"
SETTINGS = (*SIZES, "steps", "points")
"""Options of a training step, and all options that the rows share."""
POINT, SIZE = ("cell", "estimator", "seed"), ("cell", "estimator", "T")
"""Entries that identify a row of each file."""
KEYS = {ROWS: (*POINT, "losses", "steps", "delay", "window"), MEMORY: (*SIZE, "bytes")}
"""Entries of each file that the tables and figures use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Train each cell with each estimator on a stream, to repeat the bits from --delay steps ago.

    The parameters are updated every --window steps. Truncated backpropagation (bptt) reaches back
    to the last update, the online estimators to the start. The second table shows the working
    memory of a compiled training step over T steps, in which bptt goes through all of them.

    Rows in --out-dir are kept: an interrupted grid continues where it stopped, and a larger grid
    adds to a smaller one. A grid with different settings in that folder is moved aside.
    """

    cells: tuple[str, ...] = ("gru", "lru")
    """Names in rnn_jax.CELLS, or my_module:MyCell."""
    estimators: tuple[Estimator, ...] = get_args(Estimator)
    """Estimators of the gradient."""
    seeds: Count = 3
    """Number of random seeds, of parameters and bits."""
    lengths: tuple[int, ...] = (1000, 10_000, 100_000, 1_000_000)
    """Numbers of steps T for the table of memory; the flag without values omits it."""
    hidden_size: Size = 16
    """Hidden units of each cell."""
    delay: Size = 8
    """Steps after which a bit is repeated."""
    window: Size = 4
    """Steps between two updates of the parameters."""
    steps: Annotated[int, Range(at_least=1, at_most=2**31)] = 20_000
    """Steps of the stream."""
    points: Count = 20
    """Number of equal pieces of the stream; each has one loss in the rows and the figure."""
    batch_size: Count = 8
    """Number of independent streams."""
    learning_rate: Positive = 3e-3
    """Adam's learning rate."""
    clip_norm: Positive = 1.0
    """Maximum global norm of the gradient; larger gradients are scaled down to it."""
    replot: bool = False
    """Only plot the figures and print the tables of the rows in --out-dir."""
    out_dir: Path = Path("runs/online_gradients")
    """Folder for results."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        check_ranges(self)
        if not (self.cells and self.estimators):
            raise InputError("there is nothing to train; give --cells and --estimators.")
        if self.steps % (self.points * self.window):
            raise InputError(
                "--points must split --steps into equal pieces of whole windows, got "
                f"{self.points} pieces of {self.steps} steps in windows of {self.window}."
            )
        if odd := [length for length in self.lengths if length < 1 or length % self.window]:
            raise InputError(f"--lengths must be multiples of --window {self.window}, got {odd}.")


def main(config: Config) -> list[dict]:
    """Train and measure all points without a row, write results, print tables; return the rows."""
    folder = local_path(config.out_dir)
    if config.replot:
        return show(folder)
    config.check()
    from rnn_jax.plotting import online_gradients as report
    from rnn_jax.training import online_recall as training
    from rnn_jax.training.grids import train_missing
    from rnn_jax.training.runs.run_dir import exclusive

    settings = {name: getattr(config, name) for name in SETTINGS}
    sizes = {name: settings[name] for name in SIZES}
    pairs = training.pairs(config.cells, config.estimators, **sizes)
    points = [training.Point(*pair, seed) for pair in pairs for seed in range(config.seeds)]
    lengths = [training.Size(*pair, T) for pair in pairs for T in config.lengths]
    with exclusive(folder) as out:
        shared = {"settings": settings, "found": provenance(), "describe": report.describe}
        train = partial(training.train, **settings)
        train_missing(out, ROWS, points, train, keys=KEYS[ROWS], **shared)
        if lengths:
            measure = partial(training.measure, **sizes)
            train_missing(out, MEMORY, lengths, measure, keys=KEYS[MEMORY], **shared)
        return show(folder)


def show(folder):
    """Print the tables and plot the figures of the rows in a folder; return the rows."""
    from rnn_jax.plotting import online_gradients as report
    from rnn_jax.plotting import style
    from rnn_jax.training.grids import latest_rows

    rows = latest_rows(folder / ROWS, POINT, KEYS[ROWS])
    sizes = latest_rows(folder / MEMORY, SIZE, KEYS[MEMORY]) if (folder / MEMORY).exists() else []
    print("\n".join(report.summary(rows, sizes)))
    figures = {"learning.png": report.learning_figure(rows)}
    if sizes:
        figures["memory.png"] = report.memory_figure(sizes)
    for name, figure in figures.items():
        with writing(folder / name):
            style.save(figure, folder / name)
        print(f"wrote    {folder / name}")
    return rows


if __name__ == "__main__":
    run(main, Config)
