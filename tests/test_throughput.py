"""The throughput benchmark: its files and messages, and agreement of peers with rnn_jax."""

import functools
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import report
import throughput_figure
import timing
from peers import PEERS, ours
from peers.problem import GATES, Problem, Unsupported, difference
from timing import interleave, spread

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

COLUMNS = """implementation devices cell pass T B D H dtype median_ms quartiles_ms iqr_ms repeats
lower_ms compile_ms
tokens_per_second gflops matmul_gflops roofline_fraction peak_memory_mb max_difference
difference_note library device jax jaxlib python processor cores git_commit command"""
LIBRARIES = {"linen": "flax", "nnx": "flax", "cudnn": "jax"}
CELL = """
import dataclasses, jax.numpy as jnp
from rnn_jax import GatedCell, HiddenCarry

@dataclasses.dataclass(frozen=True)
class MyCell(GatedCell):
    gates = ("h",)

    def update(self, params, carry, x_gates, h_gates):
        return HiddenCarry(h=jnp.sin(x_gates + h_gates))
"""


def throughput(folder, *arguments):
    root = str(BENCHMARKS.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, BENCHMARKS / "throughput.py", "--out-dir", "out", *arguments]
    options = {"cwd": folder, "capture_output": True, "text": True}
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, **options)


@functools.cache
def our_values(problem):
    return ours.layer(problem, "scan", 1).values


@pytest.fixture(autouse=True)
def denormals():
    """Restore denormals, which PyTorch flushes for the whole process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("throughput")
    (folder / "my_module.py").write_text(CELL)
    sizes = ("--points", "2,4,3,8", "--repeats", "2", "--passes", "train", "--cells", "lstm")
    result = throughput(folder, *sizes, "--cell", "my_module:MyCell", "--peers", "cudnn")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture
def rows(measured):
    folder, _ = measured
    return [json.loads(line) for line in (folder / "out/throughput.jsonl").open()]


def test_every_driver_has_a_row_with_all_columns(rows):
    assert all(set(COLUMNS.split()) <= set(row) for row in rows)
    drivers = {row["implementation"] for row in rows}
    assert {"rnn_jax scan", "rnn_jax chunked"} <= drivers
    assert {row["cell"] for row in rows} == {"lstm", "my_module:MyCell"}
    assert all(row["median_ms"] > 0 and row["compile_ms"] > 0 for row in rows)
    assert all("throughput.py --out-dir out --points" in row["command"] for row in rows)


def test_drivers_and_devices_agree(rows):
    assert all(row["max_difference"] < 1e-5 for row in rows)


def test_columns_of_a_row_are_consistent(rows):
    for row in rows:
        seconds, gates = row["median_ms"] / 1e3, 4 if row["cell"] == "lstm" else 1
        assert row["tokens_per_second"] == pytest.approx(2 * 4 / seconds)
        operations = 3 * 2 * gates * 2 * 4 * 8 * (3 + 8)
        assert row["gflops"] == pytest.approx(operations / seconds / 1e9)
        assert row["roofline_fraction"] == pytest.approx(row["gflops"] / row["matmul_gflops"])


def test_the_summary_compares_the_default_with_scan_and_peers():
    def row(implementation, milliseconds, *, devices=1, jax="0.12", default=False):
        shared = {"cell": "lstm", "pass": "train", "T": 28, "B": 2, "D": 3, "H": 4}
        found = {"implementation": implementation, "median_ms": milliseconds, "jax": jax}
        shared |= {"devices": devices, "default_driver": default, "roofline_fraction": 0.5}
        return shared | found

    ours = [
        row("rnn_jax scan", 1.0),
        row("rnn_jax chunked", 7.0, default=True),
        row("rnn_jax chunked", 4.0, default=True, devices=2),
    ]
    jax = [row("Haiku", 6.0), row("Equinox", 7.0), row("Haiku", 9.0, devices=2)]
    *_, line = report.summary([*ours, *jax, row("PyTorch", 10.0, jax=None)])
    assert line == (
        "| lstm | train | 28, 2, 3, 4 | 7 ms | 4 ms | 6 ms (Haiku) | 9 ms (Haiku) | 10 ms "
        "| 1.50 | 2.50 | 0.50 |"
    )
    jax[0]["difference_note"] = "it is another network"
    *_, line = report.summary([*ours, *jax])
    assert "| 6 ms (Haiku*) | 9 ms (Haiku) |" in line
    *_, line = report.summary(ours)
    assert line.endswith("| 7 ms | 4 ms | - | - | - | - | - | 0.50 |")


def test_an_absent_peer_is_named_with_the_reason(measured):
    _, output = measured
    assert "jax.experimental.rnn: not for --device cpu" in output


def test_replot_needs_only_the_rows(measured):
    folder, _ = measured
    (folder / "out/throughput.png").unlink()
    result = throughput(folder, "--replot")
    assert result.returncode == 0, result.stderr
    assert "rnn_jax chunked" in result.stdout
    assert (folder / "out/throughput.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--points", "5,4,3"], "--points must be integers T,B,D,H"),
        (["--peers", "tensorflow"], "--peers must be auto, none, or any of"),
        (["--peer-python", "torch"], "--peer-python must be NAME=PATH"),
        (["--cell", "nowhere:Cell"], "cell nowhere:Cell cannot be loaded"),
        (["--repeats", "0"], "--repeats must be at least 1"),
        (["--replot"], "cannot be read as rows"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, arguments, message):
    result = throughput(tmp_path, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("cell", "work"),
    [("lstm", "forward"), *((cell, "train") for cell in GATES), ("gru", "lyapunov")],
)
@pytest.mark.parametrize("name", [name for name in PEERS if "cpu" in PEERS[name].devices])
def test_a_peer_with_the_same_weights_gives_the_same_results(name, cell, work, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip(LIBRARIES.get(name, name), exc_type=ImportError)
    peer = importlib.import_module(f"peers.{PEERS[name].module}")
    problem = Problem(cell, work, T=2, B=2, D=3, H=4)
    try:
        prepared = peer.layer(problem, 1)
    except Unsupported as reason:
        pytest.skip(f"{PEERS[name].label}: {reason}")
    prepared.call()
    if prepared.facts["differs"]:
        pytest.skip(f"{PEERS[name].label}: {prepared.facts['differs']}")
    assert difference(prepared.values, our_values(problem)) < 1e-5


def test_calls_are_interleaved_and_summarized():
    order = []
    turns = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}
    assert interleave(turns, 2) == {"a": [1, 3], "b": [2, 4]}
    assert order == ["a", "b", "a", "b"]
    quartiles = {"median_ms": 3000, "quartiles_ms": [2000, 4000], "iqr_ms": 2000}
    assert spread([1, 2, 3, 4, 5]) == quartiles | {"repeats": 5}
    assert spread([2]) == {
        "median_ms": 2000,
        "quartiles_ms": [2000, 2000],
        "iqr_ms": 0,
        "repeats": 1,
    }


def test_a_turn_is_the_median_of_its_calls_without_the_first(monkeypatch):
    seconds, now = iter([0.9, 0.01, 0.03, 0.02]), [0.0]
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def call():
        now[0] += next(seconds)

    assert timing.turn(call) == pytest.approx(0.02)


def test_a_turn_of_a_long_call_is_its_first(monkeypatch):
    seconds, now = iter([9.0]), [0.0]
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def call():
        now[0] += next(seconds)

    assert timing.turn(call) == pytest.approx(9.0)


def test_bars_of_many_sizes_are_named_by_what_differs():
    few = [(28, 128, 1, 64)]
    assert throughput_figure.bar_names(few) == ["28, 128,\n1, 64"]
    many = [
        (16, 4, 2, 8),
        (32, 4, 2, 8),
        (64, 4, 2, 8),
        (16, 1, 2, 8),
        (16, 4, 2, 1),
        (16, 2, 2, 8),
    ]
    many += [(64, 1, 2, 8)]
    names = ["base", "T=32", "T=64", "B=1", "H=1", "B=2", "T=64, B=1"]
    assert throughput_figure.bar_names(many) == names
    assert throughput_figure.bar_title(many) == "base: T=16, B=4, D=2, H=8"
