"""Runs whose config.json was edited, and folders that hold files of other programs."""

import json
import shutil

import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from mistakes import assert_error

from rnn_jax import load_run
from rnn_jax.models.factory import build_classifier
from rnn_jax.training.runs.checkpoint import Checkpoints, DamageWarning
from rnn_jax.training.runs.saved_runs import CHECKPOINTS

pytestmark = pytest.mark.usefixtures("unchecked")

SETTINGS = {"cell": "lstm", "hidden_size": 5, "forget_bias": 1.0, "input_size": 3}
SETTINGS |= {"model": "rnn_jax.models.factory:build_classifier"}
SETTINGS |= {"projection_size": 4, "num_classes": 2, "readout": "carry", "seed": 0}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    (path / "config.json").write_text(json.dumps(SETTINGS))
    params = nnx.state(build_classifier(SETTINGS), nnx.Param)
    Checkpoints(path / CHECKPOINTS).save(10, {"params": params}, {"settings": SETTINGS})
    return path


@pytest.fixture
def run(template, tmp_path):
    """The folder of a run with one checkpoint, `step_10`."""
    return shutil.copytree(template, tmp_path / "run")


CONFIGS = {
    "no cell": ({"cell": None}, ["config.json was changed", "cell (None now, lstm then)"]),
    "a list of cells": ({"cell": ["lstm"]}, ["cell (['lstm'] now, lstm then)"]),
    "another cell": ({"cell": "gru"}, ["cell (gru now, lstm then)"]),
    "another size": ({"hidden_size": 10**9}, ["hidden_size (1000000000 now, 5 then)"]),
    "other classes": ({"num_classes": 3}, ["num_classes (3 now, 2 then)"]),
    "classes in words": ({"num_classes": "two"}, ["num_classes (two now, 2 then)"]),
    "another seed": ({"seed": 1}, ["config.json was changed", "seed (1 now, 0 then)"]),
    "another forget bias": ({"forget_bias": 2.0}, ["forget_bias (2.0 now, 1.0 then)"]),
    "one setting more": ({"layers": 2}, ["layers (2 now, None then)"]),
}


@pytest.mark.parametrize("change, words", CONFIGS.values(), ids=CONFIGS)
def test_a_config_edited_by_hand_is_detected(run, change, words):
    (run / "config.json").write_text(json.dumps(SETTINGS | change))
    assert_error(words, load_run, run)


@pytest.mark.parametrize("text", [json.dumps(SETTINGS)[:40], "[]", "", None])
def test_without_a_config_the_settings_in_the_checkpoint_are_used(run, text):
    (run / "config.json").unlink()
    if text is not None:
        (run / "config.json").write_text(text)
    with pytest.warns(UserWarning, match="the settings in the checkpoint are used"):
        assert load_run(run)[1] == SETTINGS


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_removed_from_a_config_is_named(run, name):
    left = {key: value for key, value in SETTINGS.items() if key != name}
    (run / "config.json").write_text(json.dumps(left))
    assert_error([name], load_run, run)


def random_files(path):
    path.mkdir()
    (path / "notes").write_bytes(bytes(range(256)))


def foreign_checkpoint(path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, {"weights": np.ones(3)})


def plain_file(path):
    path.write_text("a file stands where a folder could")


foreign = pytest.mark.parametrize("make", [random_files, foreign_checkpoint, plain_file])


@foreign
def test_a_later_step_of_another_program_is_named_and_not_used(run, make):
    make(run / CHECKPOINTS / "step_20")
    with pytest.warns(DamageWarning, match=r"step 20 is not used: .*that of step 10 is"):
        load_run(run)


@foreign
def test_an_earlier_step_of_another_program_is_left_alone(run, make):
    make(run / CHECKPOINTS / "step_3")
    assert load_run(run)[1] == SETTINGS


@foreign
@pytest.mark.filterwarnings("ignore::rnn_jax.training.runs.checkpoint.DamageWarning")
def test_steps_of_another_program_are_not_checkpoints(run, make):
    shutil.rmtree(run / CHECKPOINTS / "step_10")
    make(run / CHECKPOINTS / "step_20")
    assert_error(["has no", "checkpoint"], load_run, run)
