"""Speed and peak memory of training on data that is read ahead, compared with data in memory."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from timing import interleave, spread

from rnn_jax.errors import RunError, check_extra
from rnn_jax.files import local_path
from rnn_jax.plotting.tables import markdown
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Natural, Size, check_ranges
from rnn_jax.training.runs.jsonl import append_rows, read_rows
from rnn_jax.training.runs.provenance import provenance

ROWS = "streaming.jsonl"
EXAMPLES, BATCH, CALL = 60_000, 128, 20
"""Number of random examples of the MNIST job, of examples per batch, and of steps per call."""
FEEDS = {
    "in memory": None,
    "streamed, a thread": (False, 0),
    "streamed, a thread, memory maps": (True, 0),
    "streamed, two workers, memory maps": (True, 2),
}
"""For each method of feeding data, whether it uses memory maps, and the number of workers."""
CHAR_LM = Path(__file__).parents[1] / "experiments" / "char_lm.py"


@dataclasses.dataclass(frozen=True)
class Config:
    """Time the MNIST job with data in memory and streamed, and measure the memory of char_lm.py."""

    calls: Size = 10
    """Calls of 20 training steps per round; data of the first call may have been read ahead."""
    repeats: Size = 10
    """Number of interleaved rounds."""
    characters: Natural = 50_000_000
    """Length of the text for the memory test, which also uses ten times this length; 0 for none."""
    replot: bool = False
    """Only print the tables of the rows in --out-dir."""
    out_dir: Path = Path("runs/streaming")
    """Folder for results; an earlier run in it is renamed."""


def main(config: Config) -> None:
    """Measure, write rows and print the tables."""
    config = dataclasses.replace(config, out_dir=local_path(config.out_dir))
    if not config.replot:
        check_ranges(config)
        check_extra("this benchmark", "grain", "stream")
        from rnn_jax.training.devices import sharding
        from rnn_jax.training.runs.run_dir import exclusive

        sharding.start_devices()
        with exclusive(config.out_dir) as out:
            out.move_aside()
            out.write("config.json", dataclasses.asdict(config))
            with tempfile.TemporaryDirectory(dir=out.path) as folder:
                rows = speed_rows(config, Path(folder)) + memory_rows(config, Path(folder))
            append_rows(out.path / ROWS, [row | provenance() for row in rows])
    print("", *summary(read_rows(config.out_dir / ROWS)), sep="\n")


def speed_rows(config: Config, folder: Path) -> list[dict]:
    """One row per method of feeding: milliseconds per step, and the ratio to in-memory data."""
    with contextlib.ExitStack() as stack:
        calls = feeding(folder, config.calls * (config.repeats + 1) * CALL, stack)
        turns = {name: partial(turn, call, config.calls) for name, call in calls.items()}
        interleave(turns, 1)  # Compiles, and starts the workers.
        seconds = interleave(turns, config.repeats)
    rows = []
    for name, taken in seconds.items():
        ratios = np.array(taken) / seconds["in memory"]
        low, ratio, high = np.percentile(ratios, (25, 50, 75)).tolist()
        rows.append({"feed": name, **spread(taken), "ratio": ratio, "ratio_quartiles": [low, high]})
    return rows


def turn(call: Callable[[], None], calls: int) -> float:
    """Seconds per step, averaged over a number of calls."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / (calls * CALL)


def feeding(folder: Path, steps: int, stack: contextlib.ExitStack) -> dict[str, Callable[[], None]]:
    """For each method of feeding data, a function that runs the next call of steps."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from rnn_jax import LSTMCell, SequenceClassifier
    from rnn_jax.training.batches import BatchOrder
    from rnn_jax.training.devices.sharding import data_mesh
    from rnn_jax.training.feeds import InMemory
    from rnn_jax.training.losses import classification_loss
    from rnn_jax.training.state import init_state
    from rnn_jax.training.step import make_train_step
    from rnn_jax.training.stream import Streamed

    def create():
        return SequenceClassifier(LSTMCell(128), 28, 10, projection_size=128, rngs=nnx.Rngs(0))

    def trainer(feed):
        state = jax.tree.map(jnp.copy, start)  # A step donates its state.
        function, inputs = feed.function(step), feed.inputs

        def call():
            nonlocal state
            state, _ = function(state, *inputs(CALL), CALL)
            jax.block_until_ready(state)

        return call

    mesh, adam, order = data_mesh(BATCH), optax.adam(1e-3), BatchOrder(0, EXAMPLES, BATCH)
    graphdef, start = init_state(create, adam, mesh)
    step = make_train_step(graphdef, classification_loss, adam, mesh)
    random = np.random.default_rng(0)
    arrays = {
        "images": random.random((EXAMPLES, 28, 28), np.float32),
        "labels": random.integers(10, size=EXAMPLES),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    maps = tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in arrays)
    calls = {}
    for name, how in FEEDS.items():
        if how is None:
            feed = InMemory(tuple(arrays.values()), order, CALL, mesh)
        else:
            data = maps if how[0] else tuple(arrays.values())
            feed = Streamed(data, order, steps, CALL, mesh, how[1])
        calls[name] = trainer(stack.enter_context(feed))
    return calls


def memory_rows(config: Config, folder: Path) -> list[dict]:
    """One row for each text and setting: peak memory of a process that trains on it."""
    from rnn_jax.datasets.text import python_source

    rows = []
    for characters in (config.characters, 10 * config.characters) if config.characters else ():
        text, source = folder / "text.txt", python_source()
        with open(text, "w") as file:
            for start in range(0, characters, len(source)):
                file.write(source[: characters - start])
        for data_in in ("memory", "stream"):
            flags = ["--text", text, "--data-in", data_in, "--steps", 40, "--hidden-size", 16]
            rows.append(
                {
                    "characters": characters,
                    "data_in": data_in,
                    **peak_memory(
                        [CHAR_LM, *flags, "--out-dir", folder / f"{data_in}-{characters}"]
                    ),
                }
            )
    return rows


def peak_memory(command: list) -> dict:
    """Peak memory and time of a Python program.

    Raises:
      RunError: it fails.
    """
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RunError(f"{Path(command[0]).name} has failed; see its message above.")
    return {"peak_mb": usage.ru_maxrss / 1024, "seconds": time.perf_counter() - start}


def summary(rows: list[dict]) -> list[str]:
    """Lines of Markdown tables: milliseconds per step, and peak memory."""
    speeds = [
        (
            row["feed"],
            f"{row['median_ms']:.1f}",
            f"{row['ratio']:.2f}",
            "{:.2f} to {:.2f}".format(*row["ratio_quartiles"]),
        )
        for row in rows
        if "feed" in row
    ]
    peaks = {
        (row["characters"], row["data_in"]): row["peak_mb"] for row in rows if "peak_mb" in row
    }
    memory = [
        (f"{count:,}", f"{peaks[count, 'memory']:,.0f}", f"{peaks[count, 'stream']:,.0f}")
        for count in dict.fromkeys(count for count, _ in peaks)
    ]
    lines = markdown(("training set", "ms per step", "ratio", "quartiles"), speeds)
    if memory:
        lines += ["", *markdown(("characters", "in memory [MB]", "streamed [MB]"), memory)]
    return lines


if __name__ == "__main__":
    run(main, Config)
