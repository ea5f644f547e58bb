"""What a run was made with, and the model it left behind."""

import dataclasses
import json
import platform
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import jaxlib
from flax import nnx

from rnn_jax.cell import Cell
from rnn_jax.checkpoint import Checkpoints
from rnn_jax.config import FREE
from rnn_jax.errors import InputError
from rnn_jax.lookup import find_cell, takes
from rnn_jax.models.sequence import SequenceClassifier, SequenceModel
from rnn_jax.rundir import read_json
from rnn_jax.scan import Driver

Model = TypeVar("Model", bound=nnx.Module)
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}
"""What matrix products are computed in, by name; None is the parameters' own dtype."""
CHECKPOINTS = "checkpoints"
"""The folder, within a run's, of its checkpoints."""


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
      settings: cell, hidden_size, forget_bias, input_size, projection_size, num_classes, readout
        and seed; init and dtype, if they are not the defaults.
      driver: how the scan is run, see `unroll`.

    Raises:
      InputError: a setting that is missing, or a cell that is not known.
    """
    return from_settings(
        settings,
        lambda cell, options: SequenceClassifier(
            cell,
            settings["input_size"],
            settings["num_classes"],
            projection_size=settings["projection_size"],
            readout=settings["readout"],
            driver=driver,
            **options,
        ),
    )


def build_sequence_model(settings: Mapping) -> SequenceModel:
    """The model that settings describe: cell, hidden_size, input_size, output_size and seed."""
    sizes = "input_size", "output_size"
    return from_settings(
        settings, lambda cell, options: SequenceModel(cell, *map(settings.get, sizes), **options)
    )


def from_settings(settings: Mapping, make: Callable[[Cell, dict], Model]) -> Model:
    """The model that `make(cell, options)` makes of what all settings of runs say alike.

    Args:
      settings: cell, hidden_size, seed; forget_bias, init and dtype, if they are not the defaults.
      make: `options` are init, dtype and rngs, as `RNN` takes them.

    Raises:
      InputError: a setting that is missing, or a cell that is not known.
    """
    try:
        cell = find_cell(settings["cell"], settings["hidden_size"])
        if "forget_bias" in settings and takes(cell, "forget_bias"):
            cell = dataclasses.replace(cell, forget_bias=settings["forget_bias"])
        dtype = DTYPES[settings.get("dtype", "float32")]
        options = {"init": settings.get("init", "default"), "dtype": dtype}
        return make(cell, options | {"rngs": nnx.Rngs(settings["seed"])})
    except KeyError as error:
        raise InputError(f"the settings of a run must name {error.args[0]}.") from error


def deciding(settings: Mapping) -> dict:
    """The settings that decide what comes out of a run, as its config.json holds them."""
    held = json.loads(json.dumps(dict(settings), default=str))
    return {name: value for name, value in held.items() if name not in FREE}


def differences(settings: Mapping, saved: Mapping) -> list[str]:
    """The settings that decide what comes out and are not the same, each as `name (now, saved)`."""
    now, then = deciding(settings), deciding(saved)
    return [
        f"{name} ({_brief(now.get(name))} now, {_brief(then.get(name))} then)"
        for name in now | then
        if now.get(name) != then.get(name)
    ]


def _brief(value):
    return textwrap.shorten(str(value), 80, placeholder="...")


def load_run(
    path: Path, build: Callable[[Mapping], nnx.Module] = build_classifier
) -> tuple[nnx.Module, dict]:
    """The model and the settings of a run in the folder `path`, from its newest valid checkpoint.

    `build` makes a new model from the settings; that of another experiment than mnist_lstm.py is
    the `build` of its file.

    Raises:
      InputError: no run there, no checkpoint, damaged ones, or a config.json that was changed.
    """
    path = Path(path)
    settings = read_json(path / "config.json")
    if settings is None:
        raise InputError(f"{path} holds no run: it has no config.json.")
    model = build(settings)
    params = nnx.state(model, nnx.Param)
    restored = Checkpoints(path / CHECKPOINTS).restore({"params": params}, subset=True)
    if restored is None:
        raise InputError(f"{path} holds no checkpoint yet; go on with the run by --resume.")
    changed = differences(settings, restored.facts.get("settings", {}))
    if changed:
        raise InputError(
            f"{path / 'config.json'} was changed after the run: {', '.join(changed)}; put it back."
        )
    nnx.update(model, jax.device_put(restored.tree["params"]))
    return model, settings
