"""The install without extras trains a cell and contains no library of the experiments."""

import os
import shutil
import subprocess
import sys

import pytest
from repository import ROOT

PROGRAM = """
import importlib.util, pathlib, sysconfig

# Flax requires Orbax, so every install has it.
for name in ("matplotlib", "PIL", "array_record", "tensorflow_datasets", "tqdm", "tyro"):
    assert importlib.util.find_spec(name) is None, f"{name} is installed"

import jax, jax.numpy as jnp, optax
import rnn_jax

cell = rnn_jax.LSTMCell(8)
xs = jax.random.normal(jax.random.key(0), (12, 4, 1))
params = {"cell": cell.init(jax.random.key(1), 1), "readout": jnp.zeros(8)}
optimizer = optax.adam(0.03)

def loss(params):
    _, ys = rnn_jax.unroll(cell, params["cell"], xs)
    return jnp.mean((ys @ params["readout"] - jnp.cumsum(xs[..., 0], axis=0)) ** 2)

@jax.jit
def step(params, state):
    value, grads = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), state, value

state, losses = optimizer.init(params), []
for _ in range(30):
    params, state, value = step(params, state)
    losses.append(float(value))
assert losses[-1] < losses[0] / 2, losses

files = pathlib.Path(sysconfig.get_path("purelib")).rglob("*")
print(sum(path.stat().st_size for path in files if path.is_file()) // 2**20, "MB")
"""


@pytest.mark.slow
def test_the_bare_install_trains_a_cell(tmp_path):
    source, python = tmp_path / "source", tmp_path / "venv" / "bin" / "python"
    source.mkdir()  # A copy: pip builds in the folder that it installs from.
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "rnn_jax", source / "rnn_jax")
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}

    def run(*command):
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", source)
    print("The bare install takes", run(python, "-c", PROGRAM))
