"""Speed of recurrent layers, forward and in training: rnn_jax and other libraries in one run."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from measure import measure_job, measure_layer
from options import check_cells, check_sizes, interpreter, writable_folder
from peers import PEERS
from peers.problem import Problem, Sizes
from processes import Team

from rnn_jax.errors import InputError
from rnn_jax.files import local_path
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Natural, Range, check_ranges
from rnn_jax.training.runs.jsonl import append_rows, read_rows

Driver = Literal[
    "scan",
    "chunked",
    "remat",
    "associative",
    "newton",
    "parallel_backward",
    "fused",
    "cudnn",
    "chunked-2",
    "chunked-4",
    "chunked-8",
    "chunked-16",
]
ROWS, JOB_ROWS, FIGURE = "throughput.jsonl", "mnist_job.jsonl", "throughput.png"
SIZE_FLAGS = "--lengths", "--batch-size", "--input-size", "--hidden-size"
BUNDLED = Path(__file__).parent.parent / "experiments" / "mnist_files"


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure recurrent layers of rnn_jax and of other libraries side by side."""

    cells: tuple[Literal["lstm", "gru", "rnn"], ...] = ("lstm", "gru", "rnn")
    """Cells to measure; an empty list measures none of them."""
    cell: str | None = None
    """One more cell: a name in rnn_jax.CELLS, or my_module:MyCell in the current folder."""
    lengths: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    """Sequence lengths T."""
    batch_size: int = 16
    """Sequences in a batch, B."""
    input_size: int = 28
    """Features of a time step, D."""
    hidden_size: int = 128
    """Hidden units, H."""
    points: tuple[str, ...] = ()
    """Sizes T,B,D,H that replace the four flags above, e.g. 784,64,1,128 512,32,128,256."""
    passes: tuple[Literal["forward", "train", "lyapunov"], ...] = ("forward", "train")
    """Passes to measure: all outputs; the gradient wrt all parameters; all Lyapunov exponents."""
    drivers: tuple[Driver, ...] = ("scan", "chunked")
    """Drivers of rnn_jax; remat is chunked with less memory, chunked-8 has chunks of 8 steps."""
    devices: Natural = 0
    """Devices to measure in addition to one; 0 for the largest number that divides the batch."""
    peers: tuple[str, ...] = ("auto",)
    """Other libraries to measure: auto (all that are installed), none, or their names."""
    peer_steps: Natural = 4096
    """Maximum sequence length for which other libraries are measured."""
    peer_python: tuple[str, ...] = ()
    """Python interpreters of libraries in other environments, as torch=/path/to/python."""
    repeats: Annotated[int, Range(at_least=1, at_most=10**6)] = 7
    """Number of timed repeats of each implementation."""
    device: Literal["cpu", "gpu", "tpu"] = "cpu"
    """Device to measure on."""
    job: Literal["mnist"] | None = None
    """Measure a training job instead of layers: an LSTM on the rows of MNIST images."""
    steps: Annotated[int, Range(at_least=1, at_most=10**7)] = 782
    """Training steps of the job, with a batch size of 128."""
    data_dir: Path | None = None
    """TFDS data folder for the job; by default, the one that TFDS uses."""
    profile: Path | None = None
    """Folder for JAX profiler traces of rnn_jax, one for each row."""
    replot: bool = False
    """Only plot the figure and print the tables of the rows in --out-dir."""
    out_dir: Path = Path("runs/throughput")
    """Folder for results; an earlier run in it is renamed."""


def main(config: Config) -> None:
    """Measure, print a table for each point, and write rows and figure."""
    config = dataclasses.replace(config, out_dir=local_path(config.out_dir))
    if config.replot:
        return _replot(config)
    problems, peers, pythons = _problems(config), _peers(config), _pythons(config)
    profile = config.profile and writable_folder("--profile", config.profile)
    import report

    from rnn_jax.training.runs.run_dir import exclusive

    with (
        exclusive(config.out_dir) as out,
        tempfile.TemporaryDirectory() as scratch,
        Team(config.device, config.drivers, config.devices, peers, pythons) as team,
    ):
        earlier = out.move_aside()
        out.write("config.json", dataclasses.asdict(config))
        report.show_start(team.facts, team.absent, earlier)
        if config.job:
            data = _job_data(config, Path(scratch))
            rows, absent = measure_job(team, config.steps, data)
            append_rows(out.path / JOB_ROWS, rows)
            report.show_absent(absent)
            _show_job(rows)
            return
        shown = {}
        for problem in problems:
            peers = config.peer_steps >= problem.T
            rows, absent = measure_layer(team, problem, config.repeats, profile, peers=peers)
            append_rows(out.path / ROWS, rows)
            report.show_absent(dict(absent.items() - shown.items()))
            shown |= absent
            report.show_layer(rows)
        _show_all(read_rows(out.path / ROWS), out.path)


def _problems(config) -> list[Problem]:
    check_ranges(config)
    if config.data_dir:
        local_path(config.data_dir)
    for flag in ("passes", "drivers", "lengths", "peers"):
        if not getattr(config, flag):
            raise InputError(f"--{flag} needs at least one value.")
    if config.job and not set(config.drivers) <= {"scan", "chunked"}:
        raise InputError("--job measures --drivers scan and chunked; leave out the others.")
    cells = [*config.cells, *([] if config.cell is None else [config.cell])]
    if not cells:
        raise InputError("there is nothing to measure; give --cells or --cell.")
    sizes = (config.batch_size, config.input_size, config.hidden_size)
    points = [_point(text) for text in config.points] or [(T, *sizes) for T in config.lengths]
    for point in points:
        check_sizes(["--points"] * 4 if config.points else SIZE_FLAGS, *point)
        check_cells(cells, point[-1], config.drivers)
    for B in [Sizes().batch] if config.job else [B for _, B, *_ in points]:
        if config.devices and B % config.devices:
            raise InputError(f"a batch of {B} cannot be split over --devices {config.devices}.")
    return [
        Problem(cell, work, *point) for cell in cells for work in config.passes for point in points
    ]


def _point(text):
    try:
        T, B, D, H = map(int, text.split(","))
    except ValueError:
        raise InputError(
            f"--points must be integers T,B,D,H, e.g. 784,64,1,128; got {text!r}."
        ) from None
    return T, B, D, H


def _peers(config) -> list[str]:
    if config.peers in (("auto",), ("none",)):
        return list(PEERS) if config.peers == ("auto",) else []
    if unknown := [name for name in config.peers if name not in PEERS]:
        raise InputError(
            f"--peers must be auto, none, or any of {', '.join(PEERS)}; got {unknown[0]!r}."
        )
    return list(dict.fromkeys(config.peers))


def _pythons(config) -> dict[str, str]:
    pythons = dict(entry.partition("=")[::2] for entry in config.peer_python)
    for name, path in pythons.items():
        if name not in PEERS or not path:
            raise InputError(
                f"--peer-python must be NAME=PATH with a name of {', '.join(PEERS)}, "
                f"e.g. torch=/path/to/python; got {name!r} and {path!r}."
            )
    return {name: interpreter(path) for name, path in pythons.items()}


def _job_data(config, scratch):
    import numpy as np

    from rnn_jax.datasets.image_data import load_images

    images = load_images("mnist", config.data_dir, bundled=BUNDLED)
    path = scratch / "images.npz"
    np.savez(path, images=images.train_images, labels=images.train_labels)
    return path


def _replot(config):
    import report

    folder = local_path(config.out_dir)
    if (folder / JOB_ROWS).exists():
        _show_job(read_rows(folder / JOB_ROWS))
        return
    rows = read_rows(folder / ROWS)
    for group in report.groups(rows):
        report.show_layer(group)
    _show_all(rows, folder)


def _show_job(rows):
    import report

    report.show_job(rows)
    print("", *report.job_summary(rows), sep="\n")


def _show_all(rows, folder):
    import report
    import throughput_figure

    print("", *report.overview(rows), sep="\n")
    throughput_figure.draw(rows, folder / FIGURE)
    print(f"wrote    {folder / ROWS}\nwrote    {folder / FIGURE}")


if __name__ == "__main__":
    run(main, Config)
