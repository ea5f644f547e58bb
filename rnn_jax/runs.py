"""What a run was made with, and the model it left behind."""

import json
import platform
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jaxlib
from flax import nnx

from rnn_jax.checkpoint import Checkpoints
from rnn_jax.config import FREE
from rnn_jax.errors import InputError
from rnn_jax.models.settings import build_classifier
from rnn_jax.rundir import read_json

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


def held(settings: Mapping) -> dict:
    """Settings as a config.json holds them."""
    return json.loads(json.dumps(dict(settings), default=str))


def deciding(settings: Mapping) -> dict:
    """The settings that decide what comes out of a run, as a config.json holds them."""
    return {name: value for name, value in held(settings).items() if name not in FREE}


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
    path: Path,
    build: Callable[[Mapping], nnx.Module] = build_classifier,
    *,
    best: bool = False,
) -> tuple[nnx.Module, dict]:
    """The model and the settings of a run in the folder `path`, from its newest valid checkpoint.

    `build` makes a new model from the settings; that of another experiment than mnist_lstm.py is
    the `build` of its file. `best` takes the checkpoint kept by `--keep-best` instead.

    Raises:
      InputError: no run there, no checkpoint, damaged ones, or a config.json that was changed.
    """
    path = Path(path)
    settings = read_json(path / "config.json")
    if settings is None:
        raise InputError(f"{path} holds no run: it has no config.json.")
    model = build(settings)
    params = nnx.state(model, nnx.Param)
    checkpoints = Checkpoints(path / CHECKPOINTS, metric=settings.get("keep_best", ""))
    restored = checkpoints.restore({"params": params}, subset=True, best=best)
    if restored is None and best and checkpoints.steps():
        raise InputError(f"{path} holds no best checkpoint; train with --keep-best loss.")
    if restored is None:
        raise InputError(f"{path} holds no checkpoint yet; go on with the run by --resume.")
    changed = differences(settings, restored.facts.get("settings", {}))
    if changed:
        raise InputError(
            f"{path / 'config.json'} was changed after the run: {', '.join(changed)}; put it back."
        )
    nnx.update(model, jax.device_put(restored.tree["params"]))
    return model, settings
