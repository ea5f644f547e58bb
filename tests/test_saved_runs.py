"""The model of a run is built from its settings and loaded from its checkpoint."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnn_jax import InputError, load_run
from rnn_jax.models.factory import build_classifier
from rnn_jax.training.devices.sharding import data_mesh, replicated
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.run_dir import RunDir
from rnn_jax.training.runs.saved_runs import CHECKPOINTS, differences

SETTINGS = {
    "model": "rnn_jax.models.factory:build_classifier",
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


def save(path, params, settings=SETTINGS, step=7):
    """Save a run with a checkpoint of `step` in the folder `path`."""
    path.mkdir(exist_ok=True)
    RunDir(path).write("config.json", settings)
    state = {"params": params, "step": jnp.int32(step)}
    checkpoints = Checkpoints(path / CHECKPOINTS)
    checkpoints.save(step, state, {"settings": settings})
    checkpoints.wait()


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
        ({"hidden_size": 6}, r"config.json was changed .*hidden_size \(6 now, 5 then\)"),
        ({"projection_size": 0}, r"projection_size \(0 now, 4 then\)"),
        ({"readout": "outputs"}, r"config.json was changed .*readout \(outputs now, carry then\)"),
        ({"cell": "lsmt"}, r"cell \(lsmt now, lstm then\)"),
    ],
)
def test_a_configuration_changed_by_hand_is_an_error(saved, change, words):
    path, _ = saved
    (path / "config.json").write_text(json.dumps(SETTINGS | change))
    with pytest.raises(InputError, match=words):
        load_run(path)


def test_a_setting_removed_by_hand_is_named(saved):
    path, _ = saved
    rest = {name: value for name, value in SETTINGS.items() if name != "readout"}
    (path / "config.json").write_text(json.dumps(rest))
    with pytest.raises(InputError, match=r"readout \(None now, carry then"):
        load_run(path)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"has no run: it has no config\.json"):
        load_run(tmp_path)
    RunDir(tmp_path).write("config.json", SETTINGS)
    with pytest.raises(InputError, match="has no checkpoint yet"):
        load_run(tmp_path)


WRONG_FOLDERS = {
    "absent": (lambda run: run / "absent", "has no run: there is no such folder"),
    "file": (lambda run: run / "config.json", "is a file; give the folder of a run"),
    "checkpoints": (lambda run: run / CHECKPOINTS, "is a folder of checkpoints; give that of the"),
    "no user": (lambda run: "~nobody-has-this-name/run", "no home folder is known"),
    "NUL": (lambda run: "a\0b", "NUL character"),
}


@pytest.mark.parametrize("folder, words", WRONG_FOLDERS.values(), ids=WRONG_FOLDERS)
def test_a_path_to_something_else_is_named(saved, folder, words):
    with pytest.raises(InputError, match=words):
        load_run(folder(saved[0]))


def test_a_tilde_is_the_home_folder(saved, monkeypatch):
    path, _ = saved
    monkeypatch.setenv("HOME", str(path.parent))
    assert load_run(f"~/{path.name}")[1] == SETTINGS


def test_the_run_of_another_experiment_is_named(saved):
    path, _ = saved
    with pytest.raises(InputError, match=r"is a run of mnist_lstm.py; expected .*date_translation"):
        load_run(path, experiment="date_translation")
    save(path, {}, SETTINGS | {"experiment": "a_game"})
    with pytest.raises(InputError, match=r"is a run of a_game.py; expected one of mnist_lstm.py"):
        load_run(path, experiment="mnist_lstm")


PAYLOAD = """
from rnn_jax import LSTMCell
open("executed", "w").close()
class Cell(LSTMCell): pass
"""


@pytest.mark.parametrize(
    "cell", ["payload:Cell", "os:system", "payload.inner:Cell", ":", "payload:"]
)
def test_a_module_that_a_run_names_is_not_imported_unless_trusted(tmp_path, monkeypatch, cell):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payload.py").write_text(PAYLOAD)
    save(tmp_path / "run", {}, SETTINGS | {"cell": cell})
    with pytest.raises(InputError, match=f"uses the cell {cell}, .*trust_modules=True"):
        load_run(tmp_path / "run")
    assert not (tmp_path / "executed").exists()


def test_the_module_of_a_trusted_run_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_cell.py").write_text(PAYLOAD)
    model = build_classifier(SETTINGS)
    save(tmp_path / "run", nnx.state(model, nnx.Param), SETTINGS | {"cell": "own_cell:Cell"})
    loaded, _ = load_run(tmp_path / "run", trust_modules=True)
    assert (tmp_path / "executed").exists()
    np.testing.assert_array_equal(loaded(jnp.ones((6, 2, 3))), model(jnp.ones((6, 2, 3))))


def test_sizes_unlike_the_checkpoint_allocate_no_memory(saved):
    path, model = saved
    save(path, nnx.state(model, nnx.Param), SETTINGS | {"hidden_size": 10**9})
    with pytest.raises(InputError, match=r"1000000000.*; (use smaller sizes|build the model)"):
        load_run(path)


def test_a_checkpoint_deleted_while_it_is_read_is_skipped(saved, monkeypatch):
    path, model = saved
    restore, tries = Checkpoints.restore, []

    def pruned_meanwhile(self, like, **options):
        tries.append(like)
        if len(tries) > 1:
            return restore(self, like, **options)
        save(path, nnx.state(model, nnx.Param), step=8)
        raise InputError("an array file of step 7 is missing")

    monkeypatch.setattr(Checkpoints, "restore", pruned_meanwhile)
    loaded, _ = load_run(path)
    np.testing.assert_array_equal(loaded(jnp.ones((6, 2, 3))), model(jnp.ones((6, 2, 3))))


def test_only_settings_that_affect_results_are_compared():
    assert differences(SETTINGS | {"out_dir": "there", "devices": 8}, SETTINGS) == []
    assert differences(SETTINGS | {"seed": 1}, SETTINGS) == ["seed (1 now, 0 then)"]


def test_settings_alone_determine_a_new_model():
    first, second = (nnx.state(build_classifier(SETTINGS), nnx.Param) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
