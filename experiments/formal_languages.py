"""Train cells on short strings of formal languages, and test them on long ones."""

import dataclasses
from pathlib import Path
from typing import Literal, get_args

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, writing
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Count, Natural, Positive, Size, check_ranges
from rnn_jax.training.runs.provenance import provenance

Task = Literal["parity", "even_pairs", "cycle", "arithmetic", "dyck", "reverse", "duplicate"]
ROWS = "formal_languages.jsonl"
SETTINGS = (
    *("layers", "longest", "test_longest", "test_examples", "bins", "steps"),
    *("batch_size", "learning_rate", "clip_norm"),
)
"""Options that all rows share."""
POINT = "task", "cell", "seed"
KEYS = (*POINT, "accuracies", "longest", "test_longest")
"""Entries that identify a row, and all entries that the table and the figure use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Train each cell on each language with strings of up to 40 symbols; test up to 500.

    Regular: parity, even_pairs (do the ends differ), cycle (position on a cycle of 5), arithmetic
    (modulo 5). Counter: dyck (are brackets balanced). Beyond these: reverse, duplicate a string.
    mingru:a_min=-1 is a linear cell with coefficients from -1 to 1 instead of 0 to 1.

    Rows in --out-dir are kept: an interrupted grid continues where it stopped, and a larger grid
    adds to a smaller one. A grid with different settings in that folder is moved aside.
    """

    cells: tuple[str, ...] = ("rnn", "gru", "lstm", "mingru", "mingru:a_min=-1")
    """Names in rnn_jax.CELLS, name:init, name:field=number, or my_module:MyCell."""
    tasks: tuple[Task, ...] = get_args(Task)
    """Languages."""
    seeds: Count = 3
    """Number of random seeds, of parameters and examples."""
    hidden_size: Size = 32
    """Hidden units of each layer."""
    layers: Count = 1
    """Number of recurrent layers."""
    longest: Count = 40
    """Maximum length of training strings [symbols], reached after half of the steps."""
    test_longest: Count = 500
    """Maximum length of test strings [symbols]."""
    test_examples: Count = 4
    """Number of test strings for each length."""
    bins: Count = 25
    """Number of ranges of test lengths; rows and figure show the accuracy of each range."""
    steps: Count = 2000
    """Number of training steps."""
    batch_size: Count = 64
    """Number of new strings per training step."""
    learning_rate: Positive = 1e-2
    """Adam's learning rate."""
    clip_norm: Positive = 1.0
    """Maximum global norm of the gradient; larger gradients are scaled down to it."""
    devices: Natural = 0
    """Number of CPU cores, GPUs or TPUs; 0 for the largest number that divides the batch."""
    replot: bool = False
    """Only plot the figure and print the table of the rows in --out-dir."""
    out_dir: Path = Path("runs/formal_languages")
    """Folder for results."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        check_ranges(self)
        if not (self.cells and self.tasks):
            raise InputError("there is nothing to train; give --cells and --tasks.")
        width, rest = divmod(self.test_longest, self.bins)
        if rest or self.longest % width or self.longest >= self.test_longest:
            raise InputError(
                "--bins must split --test-longest into equal ranges, one of which ends at "
                f"--longest {self.longest}, got {self.bins} bins of {self.test_longest} symbols."
            )


def main(config: Config) -> list[dict]:
    """Train all points without a row, write rows and figure, print the table; return all rows."""
    folder = local_path(config.out_dir)
    if config.replot:
        return show(folder)
    config.check()
    from rnn_jax.plotting import formal_languages
    from rnn_jax.training import length_generalization as training
    from rnn_jax.training.devices import sharding
    from rnn_jax.training.grids import train_missing
    from rnn_jax.training.runs.run_dir import exclusive

    sharding.start_devices(config.devices)
    sizes = {"hidden_size": config.hidden_size, "layers": config.layers}
    points = training.grid(config.tasks, config.cells, config.seeds, **sizes)
    with exclusive(folder) as out:
        devices = sharding.data_mesh(config.batch_size, config.devices)
        settings = {name: getattr(config, name) for name in SETTINGS}
        train_missing(
            out,
            ROWS,
            points,
            lambda missing: training.solve(missing, config.hidden_size, devices, **settings),
            settings=settings | sizes,
            found=provenance() | {"device_count": devices.size},
            keys=KEYS,
            describe=formal_languages.describe,
        )
        return show(folder)


def show(folder):
    """Print the table and plot the figure of the rows in a folder; return the rows."""
    from rnn_jax.plotting import formal_languages, style
    from rnn_jax.training.grids import latest_rows

    path, figure = folder / ROWS, folder / "lengths.png"
    rows = latest_rows(path, POINT, KEYS)
    print("\n".join(formal_languages.summary(rows)))
    with writing(figure):
        style.save(formal_languages.length_figure(rows), figure)
    print(f"wrote    {path}\nwrote    {figure}")
    return rows


if __name__ == "__main__":
    run(main, Config)
