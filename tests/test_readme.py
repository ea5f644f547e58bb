"""The README and the documentation: code, commands, tables, links."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys

import features
import flow_report
import job_parts
import photographs
import pytest
import reliability
import report
import streaming
import summarize
import tyro
from repository import ROOT

README = (ROOT / "README.md").read_text()
RELIABILITY = "benchmarks/results/reliability/reliability.jsonl"


GUIDE = sorted((ROOT / "docs/guide").glob("*.md"))

PAGES = [ROOT / name for name in ("README.md", "experiments/README.md", "benchmarks/README.md")]
PAGES += [*GUIDE, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def command(name):
    """The code block behind a marker, as .ci/run takes it."""
    return re.search(rf"<!-- {name} -->\n```bash\n(.*?)\n```", README).group(1)


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *(pytest.param(page, marks=pytest.mark.slow) for page in GUIDE)],
    ids=name_of,
)
def test_the_python_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # A block may save a figure.
    code = "".join(blocks("python", page.read_text()))
    exec(compile(code, page.name, "exec"), {})


def test_the_library_example_runs_alone():
    exec(compile(blocks("python")[0], "README.md", "exec"), {})


def test_the_readme_is_short():
    assert len(README.splitlines()) < 200


@pytest.mark.parametrize("name", ["train", "test"])
def test_each_command_is_one_line_that_creates_its_environment(name):
    assert command(name).startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert "\n" not in command(name)


def test_the_commands_name_existing_files():
    script = command("train").split()[-1]
    assert (ROOT / script).exists()
    assert "'.[test]'" in command("test")
    assert command("test").endswith("-m pytest")


def commands(page):
    """The commands of the bash blocks of a page, as lists of words."""
    for block in blocks("bash", page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_uses_the_environment_of_the_first_one(page):
    for words in commands(page):
        own = (ROOT / words[0]).is_file()
        assert own or words[0] in (".venv/bin/python", ".venv/bin/pip", "python3"), words


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words[1:], id=" ".join(words[1:]))
        for page in PAGES
        for words in commands(page)
        if words[0] == ".venv/bin/python" and words[1] != "-m"
    ],
)
def test_every_command_parses(words):
    script, *flags = words
    folder, _, name = script.rpartition("/")
    assert folder in ("experiments", "benchmarks")
    module = importlib.import_module(name.removesuffix(".py"))
    tyro.cli(module.Config, args=flags)


def test_the_results_are_those_of_the_committed_runs():
    lines = (ROOT / "experiments/results/mnist_lstm.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        cells = (row["python"], row["jax"], str(row["steps"]), str(row["seed"]))
        cells += (f"{row['test_accuracy']:.4f}", f"{row['test_loss']:.4f}")
        assert f"| {' | '.join(cells)} | {row['train_seconds']:.1f} |" in README


def test_the_tables_of_the_benchmarks_are_those_of_the_committed_rows():
    text = (ROOT / "benchmarks/README.md").read_text()
    names = re.findall(r"<!-- rows: (.*) -->", text)
    assert names
    for name in names:
        rows = [json.loads(line) for line in (ROOT / "benchmarks" / name).open()]
        if "adjoint_norms" in rows[0]:
            lines = flow_report.summary(rows)
        elif "trial" in rows[0]:
            lines = reliability.summary(rows)
        elif "condition" in rows[0]:
            lines = photographs.summary(rows)
        elif "feature" in rows[0]:
            lines = features.summary(rows)
        elif "job" in rows[0]:
            lines = report.job_summary(rows)
        elif "part" in rows[0]:
            lines = job_parts.summary(rows)
        elif "feed" in rows[0]:
            lines = streaming.summary(rows)
        else:
            lines = report.overview(rows)
        assert f"<!-- rows: {name} -->\n" + "\n".join(lines) + "\n" in text, name


def test_the_speeds_of_the_performance_page_are_those_of_one_run():
    page = (ROOT / "docs/performance.md").read_text()
    ((name, cell, work),) = re.findall(r"<!-- rows: (\S+) (\w+) (\w+) -->", page)
    rows = [json.loads(line) for line in (ROOT / "benchmarks" / name).open()]
    lines = report.summary([row for row in rows if (row["cell"], row["pass"]) == (cell, work)])
    assert f"<!-- rows: {name} {cell} {work} -->\n" + "\n".join(lines) + "\n" in page


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/results").glob("*/*.jsonl")), ids=lambda p: p.parent.name
)
def test_a_file_of_times_holds_one_run(path):
    rows = [json.loads(line) for line in path.open()]
    if "implementation" in rows[0] or "part" in rows[0]:
        runs = {(row["command"], row["git_commit"], row["processor"]) for row in rows}
        assert len(runs) == 1


def test_the_trials_of_reliability_are_those_of_the_committed_rows():
    page = (ROOT / "docs/reliability.md").read_text()
    rows = [json.loads(line) for line in (ROOT / RELIABILITY).open()]
    assert "\n".join(reliability.summary(rows)) in page


def test_the_tables_of_experiments_are_those_of_the_committed_runs():
    page = (ROOT / "experiments/README.md").read_text()
    names = re.findall(r"^<!-- (\w+) -->$", page, re.MULTILINE)
    tables = names[::2]
    assert tables == [
        *("table", "pixels", "sequences", "maze", "flossing", "memory", "far"),
        *("languages", "parity", "online", "stream"),
    ]
    assert names[1::2] == ["end"] * len(tables)
    assert summarize.fill_tables(page, ROOT / "experiments/results") == page


@pytest.mark.parametrize("page", [*PAGES, *(ROOT / "docs/tutorials").glob("*.md")], ids=name_of)
def test_links_exist(page):
    for path in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text()):
        assert (page.parent / path).exists(), path


def test_the_folders_in_the_architecture_exist():
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE)
    packages = {path.parent for path in ROOT.glob("rnn_jax/*/__init__.py")}
    assert {ROOT / name for name in named} >= packages
    assert all((ROOT / name).exists() for name in named)


def test_the_api_reference_names_the_modules_of_all_public_names():
    text = "".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    documented = set(re.findall(r"automodule:: ([\w.]+)", text))
    documented |= set(re.findall(r"autoclass:: ([\w.]+)\.\w+", text))
    assert all(importlib.util.find_spec(name) for name in documented)
    stub = (ROOT / "rnn_jax/__init__.pyi").read_text()
    public = {f"rnn_jax.{name}" for name in re.findall(r"^from \.([\w.]+) import", stub, re.M)}
    assert public - {"rnn_jax.cells"} <= documented


def test_no_file_contains_a_home_folder():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    homes = re.compile(rb"/(home|root|Users)/\w")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix not in (".png", ".gz"):
            assert not homes.search(path.read_bytes()), name


def test_the_cell_of_the_readme_trains_on_mnist(tmp_path):
    block = next(block for block in blocks("python") if "class JANETCell" in block)
    (tmp_path / "janet.py").write_text(block)
    script, out = ROOT / "experiments" / "mnist_lstm.py", tmp_path / "run"
    flags = "--cell janet:JANETCell --init chrono=28 --examples 512 --hidden-size 8 --devices 1"
    command = [sys.executable, script, *flags.split(), "--out-dir", out]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert json.loads((out / "summary.json").read_text())["cell"] == "janet:JANETCell"
