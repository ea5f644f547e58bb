"""Is a run ever lost: killed, stopped, damaged on disk, out of space, or left by its peer?"""

import dataclasses
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Literal, get_args

import tables
from tqdm import tqdm

from rnn_jax.errors import InputError, RunError
from rnn_jax.training.commands.cli import check_at_least, run
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
"""How often to run the trials that have no flag of their own."""
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
    """Do harm to runs of experiments/mnist_lstm.py, and see whether anything is lost.

    A run survives if it goes on and ends as one that nothing happened to: every array of its last
    checkpoint the same, bit for bit, and every row of its metrics there once. Nobody may be left
    with wrong numbers, without a word how to go on, or with a stack trace.
    """

    kills: int = 12
    """Runs to kill at a random moment of training, of an LSTM, a GRU and a simple RNN in turn."""
    flips: int = 50
    """Checkpoints to flip a random bit in, uniform over the files."""
    truncations: int = 12
    """Checkpoints to cut off or delete a file of."""
    trials: tuple[Trial, ...] = get_args(Trial)
    """What to do to them."""
    seed: int = 0
    """Seed of all that is random, but for when a process gets to do something."""
    out_dir: Path = Path("runs/reliability")
    """Folder for results; what was trained stays in its folder work if something is lost."""


def main(config: Config) -> None:
    """Do all trials, write a row for each and a summary; RunError if anything is lost."""
    check_at_least(config, kills=0, flips=0, truncations=0)
    from rnn_jax.training.runs.run_dir import exclusive

    with exclusive(config.out_dir) as out:
        if (out.path / ROWS).exists():
            raise InputError(f"{out.path} holds results; give another --out-dir.")
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
    """A row for each trial, on disk as soon as it is done."""
    from reliability_runs import Lab, Lost
    from reliability_trials import TRIALS

    # A shell ignores SIGINT in its background jobs, and what is ignored is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # Under nohup.
        signal.signal(signal.SIGHUP, lambda *_: None)  # Not inherited, unlike SIG_IGN.
    asked = {"kill": config.kills, "flip": config.flips, "truncate": config.truncations} | COUNTS
    todo = [(name, number) for name in config.trials for number in range(asked[name])]
    rows = []
    with Lab(path.absolute() / "work") as lab, tqdm(todo, unit=" trials", disable=None) as progress:
        for name, number in progress:
            progress.set_description(TESTS[name])
            begun, outcome = time.perf_counter(), "survived"
            try:
                detail = TRIALS[name](lab, number, Random(f"{name} {number} {config.seed}"))
            except Lost as lost:
                outcome, detail = "lost", str(lost)
            row = {"trial": name, "number": number, "seed": config.seed, "outcome": outcome}
            detail = detail.replace(f"{lab.work}/", "")
            row |= {"detail": detail, "seconds": time.perf_counter() - begun, **found}
            append_rows(path / ROWS, [row])
            rows.append(row)
    return rows


def _table(rows):
    """Name, tried, survived and lost, of each kind of trial."""
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
    """The table in Markdown, a line each."""
    return tables.markdown(COLUMNS, _table(rows), right=True)


def _page(rows):
    """The table, what it was measured on, and what was lost."""
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
