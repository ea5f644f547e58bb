"""Trials of `reliability` on processes: lost output, failed starts, and early interrupts."""

import os
import signal
import subprocess
from random import Random

from reliability_runs import Lab, brief, check, free_port

from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.jsonl import read_rows
from rnn_jax.training.runs.metrics import METRICS
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

CACHE = "JAX_COMPILATION_CACHE_DIR"
MEETING_SECONDS = 60
"""The time limit for processes that disagree or do not meet."""
UNCOMPILED_SECONDS = 2
"""Maximum delay of an interrupt, about the time to set up the model, or to compile."""
SAVE_EVERY = 37
"""Checkpoint interval of a run that loses its output, chosen to save few other steps."""


class Group(subprocess.Popen):
    """A process that leads a process group; a signal sent to it reaches the whole group."""

    def __init__(self, command, **how):
        super().__init__(command, process_group=0, **how)

    def send_signal(self, sig: int) -> None:
        """Send a signal to the group, unless its leader has ended."""
        if self.poll() is None:
            os.killpg(self.pid, sig)


def broken_output(lab: Lab, number: int, rng: Random) -> str:
    """Interrupt a run together with the reader of its output, or without output; resume it."""
    out, seconds = lab.work / f"broken_output_{number}", lab.reference("lstm").seconds
    log = lab.work / f"broken_output_{number}.log"

    def piped(command, **how):
        """Start `command 2>&1 | tee log` as one process group."""
        ends = os.pipe()
        how |= {"stdout": ends[1], "stderr": ends[1], "stdin": subprocess.DEVNULL}
        process = Group(command, **how)
        with open(os.devnull, "w") as null:
            subprocess.Popen(["tee", log], stdin=ends[0], stdout=null, process_group=process.pid)
        for end in ends:
            os.close(end)
        return process

    def closed(command, **how):
        """Start `command >&- 2>&-`."""
        return Group(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], **how)

    kind, start = [("broken", piped), ("closed", closed)][number % 2]
    options = ("--checkpoint-every", str(SAVE_EVERY))
    late = out / CHECKPOINTS / f"step_{lab.reference('lstm').step}"
    after = rng.uniform(0, seconds / 4)
    (process,), after = lab.cut(out, "lstm", signal.SIGINT, after, late, *options, start=start)
    lab.end(process, code=128 + signal.SIGINT)
    said = log.read_text() if log.exists() else ""
    check("Traceback" not in said, f"it printed a stack trace: {brief(said)}")
    row, saved = read_rows(out / METRICS)[-1]["step"], Checkpoints(out / CHECKPOINTS).steps()[-1]
    check(saved >= row, f"it trained to step {row} and saved step {saved}")
    lab.go_on(out, "lstm")
    return f"output {kind}: interrupted {after:.2f} s after its first checkpoint, saved {saved}"


def disagree(lab: Lab, number: int, rng: Random) -> str:
    """Start two processes with different settings, or only one of the two."""
    del rng
    out = lab.work / f"disagree_{number}"
    if number % 3 == 0:
        own = [("--learning-rate", "0.001"), ("--learning-rate", "0.002")]
        started, code = lab.launch(out, "lstm", processes=2, own=own), 2
        words, kind = "learning_rate", "two learning rates"
    else:
        alone = number % 3 - 1
        options = ["--coordinator", f"127.0.0.1:{free_port()}", "--start-timeout", "5"]
        options += ["--devices", "2", "--num-processes", "2", "--process-id", str(alone)]
        started, code = lab.launch(out, "lstm", *options), 1
        words, kind = "--start-timeout", f"process {alone} of two alone"
    for process in started:
        errors = lab.end(process, code=code, seconds=MEETING_SECONDS)
        lines = [line for line in errors.splitlines() if line.strip()]
        check(len(lines) == 1 and words in lines[0], f"{kind}: it says {brief(errors)}")
    check(not out.exists(), f"{kind}: {out} was made")
    return f"{kind}: {lines[0]}"


def interrupt_compiling(lab: Lab, number: int, rng: Random) -> str:
    """Interrupt a run while it sets up the model or compiles the training step; start it again."""
    out = lab.work / f"interrupt_compiling_{number}"
    log = lab.work / f"interrupt_compiling_{number}.log"

    def logged(command, **how):
        """Start `command >log` with an unbuffered standard output and no compilation cache."""
        environment = {name: value for name, value in os.environ.items() if name != CACHE}
        environment["PYTHONUNBUFFERED"] = "1"
        with open(log, "w") as file:
            return subprocess.Popen(command, **how | {"stdout": file, "env": environment})

    def has_data():
        return "\ndata  " in log.read_text()

    phase, ready = [
        ("its data were read", has_data),
        ("it began to compile the training step", (out / METRICS).exists),
    ][number % 2]
    after, how = rng.uniform(0, UNCOMPILED_SECONDS), {"ready": ready, "start": logged}
    (process,), _ = lab.cut(out, "lstm", signal.SIGINT, after, None, **how)
    lab.end(process, code=128 + signal.SIGINT)
    when = "during training" if (out / CHECKPOINTS).exists() else "before its first step"
    if (out / METRICS).exists():
        lab.go_on(out, "lstm")
        again = "resumed"
    else:
        (process,) = lab.launch(out, "lstm")
        lab.end(process, code=0)
        lab.compare(out, "lstm")
        again = "started again"
    return f"interrupted {when}, {after:.2f} s after {phase}, and {again}"
