"""The model of a run can be built from its settings, and read back."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import InputError, load_run
from rnn_jax.checkpoint import Checkpoints
from rnn_jax.mesh import data_mesh, replicated
from rnn_jax.models.settings import build_classifier
from rnn_jax.rundir import RunDir
from rnn_jax.runs import CHECKPOINTS, differences

SETTINGS = {
    "cell": "lstm",
    "hidden_size": 5,
    "forget_bias": 1.0,
    "input_size": 3,
    "projection_size": 4,
    "num_classes": 2,
    "readout": "carry",
    "seed": 0,
    "out_dir": "anywhere",
}


def save(path, params):
    """A run in the folder `path` that has come to step 7."""
    RunDir(path).write("config.json", SETTINGS)
    state = {"params": params, "step": jnp.int32(7)}
    Checkpoints(path / CHECKPOINTS).save(7, state, {"settings": SETTINGS})


@pytest.fixture
def saved(tmp_path):
    model = build_classifier(SETTINGS)
    save(tmp_path, nnx.state(model, nnx.Param))
    return tmp_path, model


def test_a_loaded_model_is_the_saved_one(saved):
    path, model = saved
    loaded, settings = load_run(path)
    assert settings == SETTINGS
    xs = jnp.ones((6, 2, 3))
    np.testing.assert_array_equal(loaded(xs), model(xs))


LOAD = """
import sys
import jax
import numpy as np
from rnn_jax import load_run
model, _ = load_run(sys.argv[1])
assert jax.device_count() == 1
np.save(sys.argv[2], model(np.ones((6, 2, 3), np.float32)))
"""


def test_a_model_saved_on_eight_devices_loads_on_one(tmp_path):
    model = build_classifier(SETTINGS)
    save(
        tmp_path / "run",
        jax.device_put(nnx.state(model, nnx.Param), replicated(data_mesh(8, 8))),
    )
    output = tmp_path / "logits.npy"
    subprocess.run([sys.executable, "-c", LOAD, tmp_path / "run", output], check=True)
    np.testing.assert_allclose(np.load(output), model(jnp.ones((6, 2, 3))), rtol=1e-5)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"hidden_size": 6}, r"output.kernel should be float32\[6, 2\], found float32\[5, 2\]"),
        ({"projection_size": 0}, r"rnn.params.w_x should be float32\[3, 20\]"),
        ({"readout": "outputs"}, r"config.json was changed .*readout \(outputs now, carry then\)"),
        ({"cell": "lsmt"}, "cell must be one of lstm"),
    ],
)
def test_a_configuration_changed_by_hand_is_refused(saved, change, words):
    path, _ = saved
    (path / "config.json").write_text(json.dumps(SETTINGS | change))
    with pytest.raises(InputError, match=words):
        load_run(path)


def test_a_setting_taken_out_by_hand_is_named(saved):
    path, _ = saved
    rest = {name: value for name, value in SETTINGS.items() if name != "readout"}
    (path / "config.json").write_text(json.dumps(rest))
    with pytest.raises(InputError, match="must name readout"):
        load_run(path)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no run: it has no config\.json"):
        load_run(tmp_path)
    RunDir(tmp_path).write("config.json", SETTINGS)
    with pytest.raises(InputError, match="holds no checkpoint yet"):
        load_run(tmp_path)


def test_only_settings_that_decide_what_comes_out_make_a_difference():
    assert differences(SETTINGS | {"out_dir": "there", "devices": 8}, SETTINGS) == []
    assert differences(SETTINGS | {"seed": 1}, SETTINGS) == ["seed (1 now, 0 then)"]


def test_settings_alone_determine_a_new_model():
    first, second = (nnx.state(build_classifier(SETTINGS), nnx.Param) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
