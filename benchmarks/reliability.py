"""Reliability of runs: killed, stopped, damaged on disk, out of disk space, or without a peer."""

import dataclasses
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Literal, get_args

from tqdm import tqdm

from rnn_jax.errors import InputError, RunError
from rnn_jax.plotting import tables
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Natural, check_ranges
from rnn_jax.training.runs.jsonl import append_rows
from rnn_jax.training.runs.provenance import machine, provenance

ROWS = "reliability.jsonl"
COLUMNS = "test", "tried", "survived", "lost"
Trial = Literal[
    *("kill", "flip", "truncate", "disk-full", "sigterm", "sigint", "sighup", "dead-peer"),
    *("odd-folder", "io-error", "not-a-folder", "kill-saving"),
    *("together", "resumed-twice", "misnamed", "lost-checkpoints", "damaged-rows"),
    *("damaged-config", "broken-output", "disagree", "interrupt-compiling"),
]
COUNTS = {"disk-full": 2, "sigterm": 2, "sigint": 2, "sighup": 2, "dead-peer": 2}
COUNTS |= {"odd-folder": 3, "io-error": 2, "not-a-folder": 3, "kill-saving": 2}
COUNTS |= {"together": 2, "resumed-twice": 2, "misnamed": 2, "lost-checkpoints": 2}
COUNTS |= {"damaged-rows": 5, "damaged-config": 2}
COUNTS |= {"broken-output": 2, "disagree": 3, "interrupt-compiling": 2}
"""Number of trials of each kind that has no flag."""
TESTS = {
    "kill": "killed at a random moment",
    "flip": "one bit flipped in a checkpoint",
    "truncate": "a file cut off or deleted",
    "disk-full": "disk full",
    "sigterm": "SIGTERM",
    "sigint": "SIGINT",
    "sighup": "SIGHUP",
    "dead-peer": "one process of two killed",
    "odd-folder": "brackets, wildcards, spaces and other characters in the path",
    "io-error": "a file of a checkpoint that cannot be read",
    "not-a-folder": "a checkpoint replaced by a file or a link",
    "kill-saving": "killed during a save in the background",
    "together": "two runs started at once in one folder",
    "resumed-twice": "one run resumed twice at once",
    "misnamed": "a folder without a run resumed, one with a run trained into",
    "lost-checkpoints": "checkpoints taken away and put back",
    "damaged-rows": "rows damaged and put back",
    "damaged-config": "config.json damaged or deleted",
    "broken-output": "output broken or closed at SIGINT",
    "disagree": "processes that disagree or do not meet",
    "interrupt-compiling": "SIGINT before the first step",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Disrupt runs of experiments/mnist_lstm.py, and count how many lose data.

    A run survives if it continues and ends like an undisturbed run: every array of its last
    checkpoint is bitwise equal, and every row of metrics is present once. Wrong values, a missing
    message about how to continue, or a stack trace count as lost.
    """

    kills: Natural = 12
    """Runs to kill at a random time in training: an LSTM, a GRU and a simple RNN in turn."""
    flips: Natural = 50
    """Checkpoints in which to flip a random bit, uniformly over the files."""
    truncations: Natural = 12
    """Checkpoints in which to truncate or delete a file."""
    trials: tuple[Trial, ...] = get_args(Trial)
    """Kinds of trials to run."""
    seed: int = 0
    """Seed of the random choices; the scheduling of processes is not reproducible."""
    out_dir: Path = Path("runs/reliability")
    """Folder for results; its subfolder work keeps the runs if something is lost."""


def main(config: Config) -> None:
    """Run all trials, write rows and a summary; raise RunError if anything is lost."""
    check_ranges(config)
    from rnn_jax.training.runs.run_dir import exclusive

    with exclusive(config.out_dir) as out:
        if (out.path / ROWS).exists():
            raise InputError(f"{out.path} has results already; give another --out-dir.")
        _run(config, out)


def _run(config, out):
    found = provenance()
    print(f"device   {machine(found)}")
    rows = _try_all(config, out.path, found)
    _show(rows)
    out.write_text("reliability.md", "\n".join(_page(rows)) + "\n")
    print(f"wrote    {out.path / ROWS}\nwrote    {out.path / 'reliability.md'}")
    lost = [row for row in rows if row["outcome"] == "lost"]
    if lost:
        first = "{trial} {number}: {detail}".format(**lost[0])
        raise RunError(f"{len(lost)} lost, kept in {out.path / 'work'}; the first, {first}")
    shutil.rmtree(out.path / "work", ignore_errors=True)


def _try_all(config, path, found):
    """Run the trials; append a row to the file after each."""
    from reliability_runs import Lab, Lost
    from reliability_trials import TRIALS

    # A shell ignores SIGINT in background jobs, and child processes would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # Under nohup.
        signal.signal(signal.SIGHUP, lambda *_: None)  # Not inherited, unlike SIG_IGN.
    counts = {"kill": config.kills, "flip": config.flips, "truncate": config.truncations} | COUNTS
    todo = [(name, number) for name in config.trials for number in range(counts[name])]
    rows = []
    with Lab(path.absolute() / "work") as lab, tqdm(todo, unit=" trials", disable=None) as progress:
        for name, number in progress:
            progress.set_description(TESTS[name])
            started, outcome = time.perf_counter(), "survived"
            try:
                detail = TRIALS[name](lab, number, Random(f"{name} {number} {config.seed}"))
            except Lost as lost:
                outcome, detail = "lost", str(lost)
            row = {"trial": name, "number": number, "seed": config.seed, "outcome": outcome}
            detail = detail.replace(f"{lab.work}/", "")
            row |= {"detail": detail, "seconds": time.perf_counter() - started, **found}
            append_rows(path / ROWS, [row])
            rows.append(row)
    return rows


def _table(rows):
    """Rows of the table, one for each kind of trial; see `COLUMNS`."""
    counts = Counter((row["trial"], row["outcome"]) for row in rows)
    table = []
    for name in dict.fromkeys(row["trial"] for row in rows):
        survived, lost = counts[name, "survived"], counts[name, "lost"]
        table.append((TESTS[name], *(str(n) for n in (survived + lost, survived, lost))))
    return table


def _show(rows):
    table = _table(rows)
    tables.show(COLUMNS, table, styles=["" if cells[-1] == "0" else "bold red" for cells in table])
    for row in rows:
        if row["outcome"] == "lost":
            print("lost     {trial} {number}: {detail}".format(**row))


def summary(rows: list[dict]) -> list[str]:
    """Lines of the Markdown table."""
    return tables.markdown(COLUMNS, _table(rows), right=True)


def _page(rows):
    """Lines of the report: the table, the machine, and the lost trials."""
    lines = summary(rows)
    if rows:
        minutes = sum(row["seconds"] for row in rows) / 60
        lines += ["", f"{machine(rows[0])}; {minutes:.0f} minutes.", "", "```bash"]
        lines += [rows[0]["command"], "```"]
    for row in rows:
        if row["trial"] == "dead-peer" or row["outcome"] == "lost":
            line = "- {trial} {number}, {outcome}: ".format(**row)
            lines += ["", line + " ".join(row["detail"].split())]
    return lines


if __name__ == "__main__":
    run(main, Config)
