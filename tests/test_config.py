"""Training settings out of range are reported with their flag."""

from pathlib import Path

import pytest

from rnn_jax import InputError
from rnn_jax.training.commands.cli import resume_command
from rnn_jax.training.commands.config import TrainConfig


@pytest.mark.parametrize(
    "change, words",
    [
        ({"seed": 2**32}, "--seed must be below 2..32, got 4294967296"),
        ({"seed": 2**64}, "--seed must be below"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"learning_rate": float("nan")}, "--learning-rate must be above 0, got nan"),
        ({"learning_rate": float("inf")}, "--learning-rate must be above 0, got inf"),
        ({"clip_norm": float("nan")}, "--clip-norm must be at least 0, got nan"),
        ({"clip_norm": float("inf")}, "--clip-norm must be finite, got inf"),
    ],
)
def test_a_setting_out_of_range_names_its_flag(change, words):
    with pytest.raises(InputError, match=words):
        TrainConfig(out_dir=Path("run"), **change).check()


def test_more_steps_than_fit_in_an_integer_are_an_error():
    class Long(TrainConfig):
        steps = 2**31

    with pytest.raises(InputError, match="2,147,483,648 are too many; take fewer --examples"):
        Long(out_dir=Path("run")).check()


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--out-dir", "my runs/x"],
        ["--out-dir=my runs/x"],
        ["--out_dir", "my runs/x", "--resume"],
        ["--no-resume", "--out_dir=my runs/x"],
    ],
)
def test_the_resume_command_names_folder_and_resume_once(given, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--seed", "1", *given])
    monkeypatch.setattr("sys.orig_argv", ["/bin/py", "-u", "train.py", "--seed", "1", *given])
    want = "/bin/py -u train.py --seed 1 --out-dir 'my runs/x' --resume"
    assert resume_command(Path("my runs/x")) == want


def test_the_resume_command_of_a_call_is_built_from_its_arguments(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--seed", "1"])
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "pytest"])
    assert resume_command(Path("x")) == "python train.py --seed 1 --out-dir x --resume"
