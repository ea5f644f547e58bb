"""Short runs of benchmarks/gradient_flow.py."""

import json

import gradient_flow as benchmark

import rnn_jax.analysis.adjoint_probe
import rnn_jax.drivers.chunked


def shorten_chunks(monkeypatch):
    """Take chunks of two steps, which compile faster."""
    for module in (rnn_jax.analysis.adjoint_probe, rnn_jax.drivers.chunked):
        monkeypatch.setattr(module, "chunk_length", lambda *sizes: 2)


def config(tmp_path, **changes):
    small = {"hidden_size": 6, "batch_size": 4, "seeds": 1, "lyapunov": 2, "repeats": 1}
    grid = {"cells": ("lstm",), "lengths": (4,), "out_dir": tmp_path / "out"}
    return benchmark.Config(**small | grid | changes)


def rows(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out" / benchmark.ROWS).open()]
