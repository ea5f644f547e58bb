"""Rows of benchmarks/gradient_flow.py: damaged ones are skipped, the others are kept."""

import json

import flow_measure
import flow_report
import gradient_flow as benchmark
import pytest
from flow_runs import config, rows, shorten_chunks


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    shorten_chunks(monkeypatch)


def test_a_damaged_row_does_not_affect_the_others(tmp_path, monkeypatch, capsys):
    benchmark.main(config(tmp_path, init=("chrono=28", "uniform")))
    first = rows(tmp_path)
    assert "LSTM, chrono 28: over 4 steps" in capsys.readouterr().out
    path = tmp_path / "out" / benchmark.ROWS
    good, line = path.read_bytes(), json.loads(path.read_text().splitlines()[0])
    bad = [b"not a row", b"[]", b"\xff\xfe", b"{}", json.dumps(line).encode()]
    bad += [
        json.dumps(line | {"seed": 9} | change).encode()
        for change in (
            {"T": "4"},
            {"timing": None},
            {"gates": {"f": {}}},
            {"adjoint_norms": {"h": [0.0]}},
            {"lyapunov": [0.0]},
            {"half_life": {}},
            {"time_constant": [1.0]},
            {"init": None},
        )
    ]
    path.write_bytes(b"\n".join(bad) + b"\n" + good)
    benchmark.main(config(tmp_path, replot=True))
    out = capsys.readouterr().out
    assert out.count("skipped") == len(bad) and f"{path}, line 1: it is not JSON" in out

    monkeypatch.setattr(flow_measure, "measure", None)
    benchmark.main(config(tmp_path, init=("chrono=28", "uniform", "uniform")))
    assert rows(tmp_path) == first
    aside = path.with_name(f"{path.name}.damaged").read_bytes().splitlines()
    assert len(aside) == len(bad)


def test_the_figure_omits_gates_missing_from_some_rows(tmp_path):
    def row(seed, *gates):
        return {
            "cell": "gru",
            "init": "default",
            "T": 4,
            "seed": seed,
            "gates": dict.fromkeys(gates),
        }

    (line,) = flow_report.lines([row(0, "r", "z", "n"), row(1, "r", "z")])
    assert line.gates == ["r", "z"]
