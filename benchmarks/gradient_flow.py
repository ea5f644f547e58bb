"""Gradient flow: do gradients vanish or explode in the backward pass through a cell?"""

import dataclasses
import itertools
from pathlib import Path
from typing import Literal

from tqdm import tqdm
from worker import JAX_PLATFORMS

from rnn_jax.errors import InputError
from rnn_jax.files import local_path
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Count, Natural, check_ranges
from rnn_jax.training.runs.jsonl import append_rows
from rnn_jax.training.runs.provenance import provenance
from rnn_jax.training.runs.resumed_rows import resume_rows

ROWS = "gradient_flow.jsonl"
GRID_ONLY = ("cells", "cell", "lengths", "hidden_size", "init", "task")
SETTINGS = ("hidden_size", "batch_size", "task", "from_run", "lyapunov", "device")


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure how gradients change over time in recurrent cells, and the cost of measuring it.

    Rows already in --out-dir are kept: an interrupted run continues, and a larger grid adds rows.
    A run with different settings in that folder is renamed.
    """

    cells: tuple[Literal["rnn", "lstm", "gru"], ...] = ("rnn", "lstm", "gru")
    """Cells to measure; an empty list measures none of them."""
    cell: str | None = None
    """One more cell: a name in rnn_jax.CELLS, or my_module:MyCell in the current folder."""
    lengths: tuple[int, ...] = (28, 128, 512, 2048)
    """Sequence lengths T."""
    hidden_size: Count = 128
    """Hidden units, H."""
    batch_size: Count = 32
    """Sequences in a batch, B."""
    seeds: Count = 3
    """Number of seeds of parameters and batch."""
    init: tuple[str, ...] = ("default",)
    """Initializations: default, orthogonal, identity, uniform (as in PyTorch), chrono (time scales
    of 1 to T steps) or chrono=STEPS, gain=G (recurrent weights times G), forget=B (forget bias of
    an LSTM). A cell is skipped if one does not apply to it."""
    task: Literal["adding", "copy", "mnist-rows", "mnist-pixels", "noise"] = "adding"
    """Inputs and target: the sum of two marked numbers; the first 10 symbols, in the last 10 steps;
    the class of the first of the images that fill T steps; a random number."""
    from_run: Path | None = None
    """Measure the network of a run of experiments/mnist_lstm.py instead, before and after
    training, on its test images."""
    lyapunov: Natural = 8
    """Number of leading Lyapunov exponents; 0 computes none."""
    repeats: Count = 5
    """Timed repeats of a training step, without and with the probe, for each cell and length."""
    device: Literal["cpu", "gpu", "tpu"] = "cpu"
    """Device to measure on."""
    data_dir: Path | None = None
    """TFDS data folder with MNIST; by default, the one that TFDS uses."""
    replot: bool = False
    """Only plot the figures and print the table of the rows in --out-dir."""
    out_dir: Path = Path("runs/gradient_flow")
    """Folder for results."""


def main(config: Config) -> None:
    """Measure each point of the grid, write rows and figures, print a table."""
    if config.replot:
        _show(local_path(config.out_dir))
        return
    _check(config)
    networks = _start(config)
    from rnn_jax.training.runs.run_dir import exclusive

    with exclusive(config.out_dir) as out:
        _measure(config, networks, out)
        _show(out.path)


def _show(folder):
    import flow_figures
    import flow_report
    import flow_rows

    rows = flow_rows.read(folder / ROWS)
    if not rows:
        raise InputError(f"{folder / ROWS} has no rows; measure without --replot first.")
    flow_report.show(rows)
    for path in flow_figures.draw(rows, folder):
        print(f"wrote    {path}")


def _check(config):
    check_ranges(config)
    for name in GRID_ONLY:
        if config.from_run and getattr(config, name) != getattr(Config, name):
            flag = name.replace("_", "-")
            raise InputError(f"--from-run measures the network of that run; leave out --{flag}.")
    if not (config.cells or config.cell):
        raise InputError("there is nothing to measure; give --cells or --cell.")
    for name in ("lengths", "init"):
        if not getattr(config, name):
            raise InputError(f"--{name} needs at least one value.")
    if min(config.lengths) < 1:
        raise InputError(f"--lengths must be at least 1, got {min(config.lengths)}.")


def _start(config):
    """Start JAX on the device, and return the networks to measure."""
    import jax

    jax.config.update("jax_platforms", JAX_PLATFORMS[config.device])
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"JAX finds no {config.device} here; take another --device.") from error
    return _networks(config)


def _measure(config, networks, out):
    import flow_measure
    import flow_rows

    found = provenance()
    settings = {name: getattr(config, name) for name in SETTINGS}
    flow_rows.set_aside_damaged(out.path / ROWS)
    rows = resume_rows(out, ROWS, settings, found, ("cell", "init", "T", "seed", "timing"))
    done = {(row["cell"], row["init"], row["T"], row["seed"]): row for row in rows}
    timings = {(row["cell"], row["T"]): row["timing"] for row in rows}
    for name, reason in networks.skipped.items():
        print(f"skipped  {name}: {reason}")
    points = [point for point in networks.points if point not in done]
    bar = {"total": len(networks.points), "initial": len(networks.points) - len(points)}
    with tqdm(**bar, unit=" networks", disable=None) as progress:
        for (name, T), group in itertools.groupby(points, lambda point: (point.cell, point.T)):
            for point in group:
                progress.set_description(f"{name}, {point.init}, T={T}, seed {point.seed}")
                subject = networks.load(point)
                if (name, T) not in timings:
                    flow_measure.compile_all(subject, config.lyapunov)
                    timings[name, T] = flow_measure.time_steps(subject, config.repeats)
                row = point._asdict() | {
                    "B": config.batch_size,
                    "H": subject.cell.hidden_size,
                    "D": subject.batch.xs.shape[-1],
                    "task": None if config.from_run else config.task,
                    "from_run": config.from_run and str(config.from_run),
                    "timing": timings[name, T],
                    **flow_measure.measure(subject, config.lyapunov),
                    **found,
                }
                append_rows(out.path / ROWS, [row])
                progress.update()


def _networks(config):
    from flow_subjects import Initialized, Trained
    from flow_tasks import load_task

    if config.from_run:
        return Trained(config.from_run, config.seeds, config.batch_size, config.data_dir)
    names = *config.cells, *([config.cell] if config.cell else [])
    task = load_task(config.task, config.data_dir)
    # Repeated values are measured once.
    grid = (tuple(dict.fromkeys(values)) for values in (names, config.init, config.lengths))
    return Initialized(*grid, config.seeds, task, config.hidden_size, config.batch_size)


if __name__ == "__main__":
    run(main, Config)
