"""Write the result tables of experiments/README.md from the committed rows."""

import dataclasses
import statistics
from importlib import import_module
from pathlib import Path

from rnn_jax.errors import InputError
from rnn_jax.files import replacing
from rnn_jax.plotting.tables import markdown
from rnn_jax.training.commands.cli import run
from rnn_jax.training.runs.jsonl import read_rows

HERE = Path(__file__).parent
MEASURES = {
    "mnist_lstm": {"test_accuracy": "accuracy {:.2%} ± {:.2%}"},
    "mnist_generate": {
        "samples_correct": "{:.2%} ± {:.2%} classified as intended",
        "test_nll": "{:.2f} ± {:.2f} nats per image",
    },
    "date_translation": {"test_accuracy": "{:.2%} ± {:.2%} of dates correct"},
    "sine_regression": {"test_mse": "mean squared error {:.2e} ± {:.0e}"},
    "flip_flop": {
        "test_bits": "{:.2%} ± {:.2%} of bits right",
        "stable_points": "{:.1f} ± {:.1f} stable fixed points",
    },
    "char_lm": {"test_bits": "{:.3f} ± {:.3f} bits per character"},
    "speech_digits": {
        "digit_error_rate": "{:.2%} ± {:.2%} of digits wrong",
        "strings_right": "{:.2%} ± {:.2%} of strings right",
    },
}
"""Measures of each experiment, with a format for mean and standard deviation."""
REPORTS = {
    "pixels": ("mnist_pixels", "mnist_pixels"),
    "sequences": ("sequences", "sequence_classification"),
    "maze": ("t_maze", "t_maze"),
    "flossing": ("gradient_flossing", "gradient_flossing"),
    "memory": ("memory_tasks", "memory_tasks"),
    "far": ("memory_tasks", "memory_tasks_far"),
    "languages": ("formal_languages", "formal_languages"),
    "parity": ("formal_languages", "formal_languages_parity"),
    "online": ("online_gradients", "online_gradients", "online_gradients_memory"),
    "stream": ("online_gradients", "online_gradients_stream", "online_gradients_stream_memory"),
}
"""For each table: a module of rnn_jax.plotting, and the row files that its `summary` takes."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Write the tables of experiments/README.md, and the figure that compares runs of t_maze.py.

    The rows are read from experiments/results.
    """


def main(_: Config) -> None:
    """Write the tables and the figure."""
    from rnn_jax.plotting import style, t_maze

    page = HERE / "README.md"
    text = fill_tables(page.read_text(), HERE / "results")
    with replacing(page) as temporary:
        temporary.write_text(text)
    rows = read_rows(HERE / "results/t_maze.jsonl")
    title = f"T-maze: mean and range of {len({row['seed'] for row in rows})} seeds"
    figure = HERE / "results/t_maze_success.png"
    style.save(t_maze.success_figure(rows, title), figure)
    print(f"wrote    {page}\nwrote    {figure}")


def fill_tables(page: str, results: Path) -> str:
    """Fill in the tables of a page, between <!-- name --> and <!-- end -->, from rows of results.

    Raises:
      InputError: the page lacks the markers of a table.
    """
    tables = {"table": table(results)}
    for name, (module, *files) in REPORTS.items():
        report = import_module(f"rnn_jax.plotting.{module}")
        tables[name] = report.summary(*(read_rows(results / f"{file}.jsonl") for file in files))
    for name, lines in tables.items():
        before, marker, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise InputError(f"the page lacks <!-- {name} --> ... <!-- end -->; add it back.")
        page = before + marker + "\n".join(lines).strip() + "\n" + end + after
    return page


def table(folder: Path) -> list[str]:
    """Format a Markdown table with a row for each command and JAX version, over all seeds."""
    cells = []
    for name, measures in MEASURES.items():
        groups = {}
        for row in read_rows(folder / f"{name}.jsonl"):
            groups.setdefault((_without_seed(row["command"]), row["jax"]), []).append(row)
        cells += [_cells(command, rows, measures) for (command, _), rows in groups.items()]
    return markdown(("command", "seeds", "result", "training [s]", "Python, jax", "commit"), cells)


def _cells(command, rows, measures):
    results = ", ".join(_spread(text, [row[key] for row in rows]) for key, text in measures.items())
    seconds = " ".join(f"{row['train_seconds']:.0f}" for row in rows)
    seeds = " ".join(str(row["seed"]) for row in rows)
    commits = " ".join(dict.fromkeys((row.get("git_commit") or "-")[:7] for row in rows))
    return f"`{command}`", seeds, results, seconds, "{python}, {jax}".format(**rows[0]), commits


def _spread(text, values):
    if len(values) > 1:
        return text.format(statistics.mean(values), statistics.stdev(values))
    return text.partition(" ± ")[0].format(values[0]) + text.partition("}")[2].partition("}")[2]


def _without_seed(command):
    words = command.replace("python experiments/", "").split()
    for flag in {"--seed", "--data-dir", "--out-dir"} & set(words):
        place = words.index(flag)
        del words[place : place + 2]
    return " ".join(words)


if __name__ == "__main__":
    run(main, Config, only_prints=True)
