"""Drivers under the default flags of XLA; all other tests turn its optimizations off."""

import os
import subprocess
import sys

PROGRAM = """
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


def test_drivers_agree_with_a_python_loop_under_default_flags():
    flags = {name: os.environ[name] for name in os.environ if name != "XLA_FLAGS"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=flags, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
