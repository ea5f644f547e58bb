"""What a run leaves behind can be read back, and nothing of it is lost or silently wrong."""

import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import InputError
from rnn_jax.checkpoint import load_params, save_params
from rnn_jax.mesh import data_mesh, replicated
from rnn_jax.runs import PARAMS, RunDir, build_classifier, load_classifier

SETTINGS = {
    "cell": "lstm",
    "hidden_size": 5,
    "forget_bias": 1.0,
    "input_size": 3,
    "projection_size": 4,
    "num_classes": 2,
    "readout": "carry",
    "seed": 0,
}


@pytest.fixture
def saved(tmp_path):
    model = build_classifier(SETTINGS)
    RunDir(tmp_path / "run").write("config.json", SETTINGS)
    save_params(tmp_path / "run" / PARAMS, nnx.state(model, nnx.Param))
    return tmp_path / "run", model


def damage(folder):
    """Change one byte in the middle of the largest file."""
    path = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_loaded_model_is_the_saved_one(saved):
    path, model = saved
    loaded, settings = load_classifier(path)
    assert settings == SETTINGS
    xs = jnp.ones((6, 2, 3))
    np.testing.assert_array_equal(loaded(xs), model(xs))


LOAD = """
import sys
from pathlib import Path
import jax
import numpy as np
from rnn_jax.runs import load_classifier
model, _ = load_classifier(Path(sys.argv[1]))
assert jax.device_count() == 1
np.save(sys.argv[2], model(np.ones((6, 2, 3), np.float32)))
"""


def test_a_model_saved_on_eight_devices_loads_on_one(tmp_path):
    model = build_classifier(SETTINGS)
    RunDir(tmp_path / "run").write("config.json", SETTINGS)
    everywhere = jax.device_put(nnx.state(model, nnx.Param), replicated(data_mesh(8, 8)))
    save_params(tmp_path / "run" / PARAMS, everywhere)
    output = tmp_path / "logits.npy"
    subprocess.run([sys.executable, "-c", LOAD, tmp_path / "run", output], check=True)
    np.testing.assert_allclose(np.load(output), model(jnp.ones((6, 2, 3))), rtol=1e-5)


def test_damaged_parameters_are_never_loaded(saved):
    path, _ = saved
    damage(path / PARAMS / "arrays")
    with pytest.raises(InputError, match=re.escape(str(path / PARAMS))):
        load_classifier(path)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"hidden_size": 6}, r"'rnn.params.w_h': \(5, 20\).*'rnn.params.w_h': \(6, 24\)"),
        ({"projection_size": 0}, "holds the parameters .*projection.kernel"),
    ],
)
def test_parameters_of_another_model_are_refused(saved, change, words):
    path, _ = saved
    like = nnx.state(build_classifier(SETTINGS | change), nnx.Param)
    with pytest.raises(InputError, match=words):
        load_params(path / PARAMS, like)


def test_a_folder_without_a_finished_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no run: its config\.json"):
        load_classifier(tmp_path)
    RunDir(tmp_path / "cut_off").write("config.json", SETTINGS)
    with pytest.raises(InputError, match="holds no complete set of parameters"):
        load_classifier(tmp_path / "cut_off")


def test_an_earlier_run_is_moved_aside_and_kept(tmp_path):
    for number in range(3):
        out = RunDir(tmp_path / "run")
        out.write("config.json", {"number": number})
    assert out.earlier == tmp_path / "run.2"
    numbers = [
        json.loads((tmp_path / name / "config.json").read_text())["number"]
        for name in ("run.1", "run.2", "run")
    ]
    assert numbers == [0, 1, 2]


def test_a_folder_that_is_no_run_keeps_its_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert RunDir(tmp_path).earlier is None
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written.*--out-dir"):
        RunDir(tmp_path / "file" / "run")


def test_rows_are_on_disk_as_soon_as_they_are_appended(tmp_path):
    out = RunDir(tmp_path)
    for step in (1, 2):
        out.append("metrics.jsonl", {"step": step})
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1]) == {"step": step}


def test_settings_alone_determine_a_new_model():
    first, second = (nnx.state(build_classifier(SETTINGS), nnx.Param) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
