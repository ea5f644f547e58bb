"""What a run leaves behind: a folder of rows, facts and parameters that can be read back."""

import functools
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

import jax
import jaxlib
from flax import nnx

from rnn_jax.cells import CELLS
from rnn_jax.checkpoint import load_params
from rnn_jax.errors import InputError
from rnn_jax.modules import SequenceClassifier
from rnn_jax.scan import Driver

PARAMS = "params"
"""The folder, within a run's, of the trained parameters."""


class RunDir:
    """The folder of one run, written by its first process alone.

    An earlier run in the same place is kept: its folder moves aside to the first free of
    `name.1`, `name.2`, ...

    Attributes:
      path: the folder.
      writes: whether this process writes; in the others, writing does nothing.
      earlier: where the earlier run was moved to, or None.

    Raises:
      InputError: the folder cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self.writes = jax.process_index() == 0
        self.earlier = None
        if not self.writes:
            return
        try:
            self.earlier = _move_aside(path) if (path / "config.json").exists() else None
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"the folder {path} cannot be written ({error.strerror}); "
                "give another one with --out-dir."
            ) from error

    def write(self, name: str, content: Mapping) -> Path:
        """Write a JSON file, whole or not at all."""
        path = self.path / name
        if not self.writes:
            return path
        temporary = path.with_name(f".{name}.{os.getpid()}")
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
        temporary.replace(path)
        return path

    def append(self, name: str, row: Mapping) -> None:
        """Add one row to a file of JSON lines; it is on disk when this returns."""
        if self.writes:
            with open(self.path / name, "a") as rows:
                rows.write(json.dumps(row) + "\n")


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return path.rename(aside)


def environment() -> dict[str, str | int]:
    """The facts that a figure depends on: versions, and the devices JAX runs on."""
    return {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "python": platform.python_version(),
    }


def build_classifier(settings: Mapping, driver: Driver = "auto") -> SequenceClassifier:
    """The model that the settings of a run describe, newly drawn.

    Args:
      settings: cell, hidden_size, forget_bias (for an LSTM), input_size, projection_size,
        num_classes, readout and seed.
      driver: how the scan is run, see `unroll`.
    """
    options = {"forget_bias": settings["forget_bias"]} if settings["cell"] == "lstm" else {}
    return SequenceClassifier(
        CELLS[settings["cell"]](settings["hidden_size"], **options),
        settings["input_size"],
        settings["num_classes"],
        projection_size=settings["projection_size"],
        readout=settings["readout"],
        driver=driver,
        rngs=nnx.Rngs(settings["seed"]),
    )


def load_classifier(path: Path) -> tuple[SequenceClassifier, dict]:
    """The trained model that a run left in the folder `path`, and the run's settings.

    Raises:
      InputError: no finished run there, or damaged parameters.
    """
    try:
        settings = json.loads((path / "config.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path} holds no run: its config.json cannot be read.") from error
    create = functools.partial(build_classifier, settings)
    like = nnx.state(nnx.eval_shape(create), nnx.Param)
    model = create()
    nnx.update(model, load_params(path / PARAMS, like))
    return model, settings
