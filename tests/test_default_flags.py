"""Drivers and memory under the default flags of XLA; other tests turn its optimizations off."""

import os
import subprocess
import sys

DRIVERS = """
import jax

jax.config.update("jax_enable_x64", True)

from rnn_jax import ConvLSTMCell, GRUCell, LSTMCell, MinGRUCell
from rnn_jax.testing.oracle import assert_close, drivers_for, loop_back, problem, run_back

for cell in LSTMCell(3), GRUCell(3), MinGRUCell(3), ConvLSTMCell(2):
    given = problem(cell)
    expected = loop_back(cell, *given)
    for driver in drivers_for(cell):
        assert_close(run_back(cell, *given, driver=driver), expected)
cell = LSTMCell(3)
given = problem(cell)
assert_close(run_back(cell, *given, driver="newton"), loop_back(cell, *given), 1e-9)
"""
MEMORY = """
from rnn_jax.training.online_recall import Size, measure

sizes = {"hidden_size": 4, "delay": 2, "window": 5, "batch_size": 8}
lengths = [Size("lru", "snap1", steps) for steps in (1000, 1_000_000)]
short, long = measure(lengths, learning_rate=1e-3, clip_norm=1.0, **sizes)
assert 0 < long["bytes"] <= 1.01 * short["bytes"], (short, long)
"""


def run(program):
    flags = {name: os.environ[name] for name in os.environ if name != "XLA_FLAGS"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=flags, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_drivers_agree_with_a_python_loop_under_default_flags():
    run(DRIVERS)


def test_memory_of_online_gradients_is_constant_under_default_flags():
    run(MEMORY)
