"""Runs of experiments/mnist_lstm.py as processes: started, interrupted, resumed and compared."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rnn_jax.files import read_sealed
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.checkpoint_files import CONTENTS
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

SCRIPT = Path(__file__).parents[1] / "experiments" / "mnist_lstm.py"
JOB = (
    *("--hidden-size", "16", "--projection-size", "8", "--examples", "20000"),
    *("--log-every", "10", "--checkpoint-every", "5"),
)
SECONDS = 300
"""Time limit of a run, much longer than any of these runs takes."""


class Lost(Exception):
    """A run lost data; the message names what."""


def check(holds: bool, otherwise: str) -> None:
    """Raise Lost with the message `otherwise` unless `holds`."""
    if not holds:
        raise Lost(otherwise)


def brief(errors: str) -> str:
    """The end of the error output of a process, on one line."""
    return " ".join(errors.split())[-300:] or "it printed nothing"


class Reference(NamedTuple):
    """Result of an undisturbed run.

    Attributes:
      step: the last step.
      seconds: training time.
      leaves: shape, dtype and SHA-256 of each array of its last checkpoint.
      rows: its metrics without examples_per_second.
    """

    step: int
    seconds: float
    leaves: dict
    rows: list[dict]


class HalfDone(NamedTuple):
    """The folder of a run stopped halfway, and the steps of its two checkpoints."""

    path: Path
    steps: list[int]


class Lab:
    """A folder to train in; a context manager that ends every process that it started."""

    def __init__(self, work: Path):
        self.work = work
        self._started, self._references, self._half = [], {}, None

    def launch(
        self,
        out: Path,
        cell: str,
        *options: str,
        processes: int = 1,
        own: Sequence[Sequence[str]] = (),
        start: Callable = subprocess.Popen,
    ) -> list:
        """Start training in `out`, by one process or by several together.

        Args:
          out: the folder of the run.
          cell: name of the cell.
          options: further options of the command.
          processes: number of processes.
          own: further options of each process.
          start: starts a process; takes the arguments of `subprocess.Popen`.
        """
        command = [sys.executable, SCRIPT, *JOB, "--cell", cell, "--out-dir", out, *options]
        if processes > 1:
            command += ["--coordinator", f"127.0.0.1:{free_port()}"]
            command += ["--devices", str(processes), "--num-processes", str(processes)]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        ids = [["--process-id", str(k)] if processes > 1 else [] for k in range(processes)]
        own = own or [()] * processes
        started = [start([*command, *ids[k], *own[k]], **pipes) for k in range(processes)]
        self._started += started
        return started

    def end(self, process, *, code: int | None = None, seconds: float = SECONDS) -> str:
        """Wait for a process to end; return its error output.

        Raises:
          Lost: it does not end, has another exit code, or prints a stack trace.
        """
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            _, errors = process.communicate()
            raise Lost(f"it still ran after {seconds} s: {brief(errors)}") from expired
        errors = errors or ""  # None if a trial sends standard error elsewhere.
        check("Traceback" not in errors, f"it ended with a stack trace: {brief(errors)}")
        ended = process.returncode
        check(
            code in (None, ended), f"it ended with exit code {ended}, not {code}: {brief(errors)}"
        )
        return errors

    def cut(
        self, out, cell, number, after, too_late, *options, target=0, ready=None, **launch
    ) -> tuple:
        """Train in `out`, and send a signal to one process, by default during training.

        Args:
          out: the folder of the run.
          cell: name of the cell.
          number: the signal.
          after: seconds from `ready` to the signal.
          too_late: if this path exists after the signal, repeat with half the delay; or None.
          options: further options of the command.
          target: index of the process that receives the signal.
          ready: returns whether to start waiting; by default, whether a checkpoint was started.
          launch: keyword arguments of `launch`.

        Returns:
          the processes, of which the target has ended, and the delay of the last attempt.
        """
        ready = ready or (out / CHECKPOINTS).exists
        while True:
            started = self.launch(out, cell, *options, **launch)
            deadline = time.perf_counter() + SECONDS
            while not ready():
                for process in started:
                    ended = process.poll()
                    check(ended is None, f"it ended before it trained, with exit code {ended}")
                check(time.perf_counter() < deadline, f"it does not start within {SECONDS} s")
                time.sleep(0.01)
            time.sleep(after)
            started[target].send_signal(number)
            try:
                started[target].wait(SECONDS)
            except subprocess.TimeoutExpired as expired:
                raise Lost(f"it still ran {SECONDS} s after {number.name}") from expired
            if too_late is None or not too_late.exists():
                return started, after
            for process in started:
                process.kill()
                process.communicate()
            check(after > 0.001, f"{number.name} did not end it")
            shutil.rmtree(out)
            after /= 2

    def go_on(self, out: Path, cell: str, *, processes: int = 1) -> str:
        """Resume the run in `out`, and return what it prints on standard error.

        Raises:
          Lost: it cannot be resumed, or its result differs from the reference.
        """
        started = self.launch(out, cell, "--resume", processes=processes)
        errors = "".join([self.end(process, code=0) for process in started])
        self.compare(out, cell, processes=processes)
        return errors

    def compare(self, out: Path, cell: str, *, processes: int = 1) -> None:
        """Compare a finished run with the reference.

        Raises:
          Lost: an array or a row differs.
        """
        expected, found = self.reference(cell, processes), _outcome(out)
        names = [name for name in expected.leaves if expected.leaves[name] != found.leaves[name]]
        check(not names, f"it ended with another {', '.join(names)}")
        steps = [[row["step"] for row in run.rows] for run in (expected, found)]
        check(steps[0] == steps[1], f"it has rows of the steps {steps[1]}, not {steps[0]}")
        check(expected.rows == found.rows, "its rows hold other numbers")

    def reference(self, cell: str, processes: int = 1) -> Reference:
        """Result of an undisturbed run."""
        if (cell, processes) not in self._references:
            out = self.work / f"reference_{cell}_{processes}"
            shutil.rmtree(out, ignore_errors=True)
            for process in self.launch(out, cell, processes=processes):
                self.end(process, code=0)
            self._references[cell, processes] = _outcome(out)
        return self._references[cell, processes]

    def half_done(self) -> HalfDone:
        """A run of an LSTM that was stopped halfway; copy its folder before changing it."""
        if self._half is None:
            out, after = self.work / "half_done", self.reference("lstm").seconds / 2
            shutil.rmtree(out, ignore_errors=True)
            last = out / CHECKPOINTS / f"step_{self.reference('lstm').step}"
            (process,), _ = self.cut(out, "lstm", signal.SIGTERM, after, last)
            self.end(process, code=128 + signal.SIGTERM)
            steps = Checkpoints(out / CHECKPOINTS).steps()
            check(len(steps) == 2, f"half way there are the checkpoints {steps}, not two")
            self._half = HalfDone(out, steps)
        return self._half

    def __enter__(self) -> "Lab":
        self.work.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_):
        for process in self._started:
            process.kill()


def checkpoint_leaves(out: Path, step: int) -> dict:
    """Shape, dtype and SHA-256 of each array of a checkpoint, as it was saved."""
    return read_sealed(out / CHECKPOINTS / f"step_{step}" / CONTENTS)["leaves"]


def _outcome(out):
    """Result of a finished run."""
    step = Checkpoints(out / CHECKPOINTS).steps()[-1]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["examples_per_second"]
    seconds = json.loads((out / "summary.json").read_text())["train_seconds"]
    return Reference(step, seconds, checkpoint_leaves(out, step), rows)


def free_port() -> int:
    """A free TCP port of the loopback interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
