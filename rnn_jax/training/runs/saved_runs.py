"""Saved runs: comparing their settings, and loading the models in their checkpoints."""

import contextlib
import importlib
import json
import textwrap
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import jax
from flax import nnx

from rnn_jax.errors import InputError
from rnn_jax.files import Damaged, local_path, printable, read_json
from rnn_jax.training.commands.config import FREE, LENGTHS
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.checkpoint_files import read_contents

CHECKPOINTS = "checkpoints"
"""Name of the folder of checkpoints in the folder of a run."""
CONFIG = "config.json"
"""Name of the file of settings in the folder of a run."""
_DISTINCT = {
    "mnist_lstm": "num_classes",
    "mnist_generate": "row_size",
    "date_translation": "source_size",
    "char_lm": "vocabulary",
    "sine_regression": "reset_state",
}
"""For each experiment, a setting that only its runs have."""


def held(settings: Mapping) -> dict:
    """Settings as they are after a JSON round trip."""
    return json.loads(json.dumps(dict(settings), default=str))


def deciding(settings: Mapping) -> dict:
    """The settings that the result of a run depends on, as JSON data."""
    return {name: value for name, value in held(settings).items() if name not in FREE}


def differences(settings: Mapping, saved: Mapping) -> list[str]:
    """Differences in the settings that the result depends on, each as text with both values.

    The length of a run is not compared: a longer run continues a shorter one. Nor are settings that
    `saved` does not have, as it may come from an older version.
    """
    now, then = deciding(settings), deciding(saved)
    return [
        f"{name} ({_brief(now.get(name))} now, {_brief(then[name])} then)"
        for name in now | then
        if name in then and name not in LENGTHS and now.get(name) != then[name]
    ]


def lengthened(settings: Mapping, saved: Mapping) -> dict[str, list]:
    """Changed lengths of a run, as `{name: [saved, now]}`."""
    now, then = held(settings), held(saved)
    return {
        name: [then[name], now[name]]
        for name in ("examples", "steps")
        if name in now and name in then and now[name] != then[name]
    }


def _brief(value):
    return textwrap.shorten(str(value), 80, placeholder="...")


def load_run(
    path: str | Path,
    build: Callable[[Mapping], nnx.Module] | None = None,
    *,
    experiment: str | None = None,
    trust_modules: bool = False,
    best: bool = False,
) -> tuple[nnx.Module, dict]:
    """Load the model and the settings of a run from its newest valid checkpoint.

    The model of a run of mnist_lstm.py takes time-major sequences [T, ..., D]: the rows of images
    [B, 28, 28] with gray values 0 to 255 become `images.swapaxes(0, 1) / 255`. Batch-major or
    unscaled inputs raise no error, but give wrong results. `load_image_classifier` takes the images
    unchanged.

    The settings are those of config.json, which must agree with the settings in the checkpoint. If
    config.json is missing or damaged, the settings in the checkpoint are returned, with a warning.
    The run may still be training.

    Args:
      path: the folder of the run, which contains config.json and checkpoints.
      build: function from settings to a newly initialized model; by default, the one that
        config.json names.
      experiment: name of the experiment that the run must belong to, such as "mnist_lstm"; by
        default, any.
      trust_modules: allow a cell or a model from a module outside rnn_jax, which the settings name
        as module:name. Importing it runs its code: do not set this for runs from other people.
      best: load the checkpoint kept by `keep_best` instead of the newest.

    Raises:
      InputError: there is no run, it belongs to another experiment, it has no valid checkpoint,
        its config.json was changed, or it needs a module that is not trusted.
    """
    path = _run_folder(path, experiment)
    settings = _verified_settings(path, experiment)
    _check_experiment(path, settings, experiment)
    if not trust_modules:
        for kind in ("cell", "model"):
            _check_module(path, kind, settings.get(kind))
    build = cast(Callable, build or _model_builder(path, settings.get("model")))
    model = _abstract(build, settings)
    params = nnx.state(model, nnx.Param)
    restored = _restore(path, {"params": params}, settings.get("keep_best", ""), best)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in _rest(model)):
        model = build(settings)
    nnx.update(model, jax.device_put(restored.tree["params"]))
    return model, settings


def experiment_of(settings: Mapping) -> str | None:
    """Name of the experiment of a run with these settings, or None."""
    named = settings.get("experiment")
    if isinstance(named, str):
        return named.removesuffix(".py")
    return next((name for name, key in _DISTINCT.items() if key in settings), None)


def _run_folder(path, experiment):
    path = local_path(path)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
        is_run = is_folder and (path / CONFIG).exists()
        steps = is_folder and any(path.glob("step_*"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if is_file:
        raise InputError(f"{path} is a file; give the folder of a run, with {CONFIG} in it.")
    if not is_folder:
        raise _no_run(path, "there is no such folder", experiment)
    if steps and not is_run:
        raise InputError(f"{path} is a folder of checkpoints; give that of the run, {path.parent}.")
    return path


def _no_run(path, reason, experiment):
    hint = f"; train one with: python experiments/{experiment}.py --out-dir {path}"
    return InputError(f"{path} has no run: {reason}{hint if experiment else '.'}")


def _verified_settings(path, experiment):
    """Settings of a run, checked against those in its checkpoint."""
    try:
        settings, damage = read_json(path / CONFIG), None
    except InputError as error:
        settings, damage = None, error
    sealed = _sealed_settings(path / CHECKPOINTS)
    if sealed is None:
        if damage:
            raise damage
        if settings is None and not (path / CHECKPOINTS).is_dir():
            raise _no_run(path, f"it has no {CONFIG}", experiment)
        restored = Checkpoints(path / CHECKPOINTS).restore({}, subset=True)
        if restored is None:
            raise InputError(f"{path} has no checkpoint yet; resume the run first.")
        raise InputError(f"{path / CHECKPOINTS} has no settings of a run.")
    if settings is None:
        message = (
            f"{path / CONFIG} is {'damaged' if damage else 'missing'}; "
            "the settings in the checkpoint are used."
        )
        warnings.warn(message, stacklevel=3)
        return sealed
    added = {name: None for name in deciding(settings) if name not in sealed}
    if changed := differences(settings, sealed | added):
        raise InputError(
            f"{path / CONFIG} was changed after the run: {', '.join(changed)}; restore it."
        )
    return settings


def _sealed_settings(folder):
    checkpoints = Checkpoints(folder)
    for step in reversed(checkpoints.steps()):
        with contextlib.suppress(Damaged, KeyError, TypeError, OSError):
            settings = read_contents(folder / f"step_{step}", step)["facts"]["settings"]
            if isinstance(settings, dict):
                return settings
    return None


def _check_experiment(path, settings, expected):
    found = experiment_of(settings)
    if expected and found and found != expected:
        raise InputError(f"{path} is a run of {found}.py; expected one of {expected}.py.")


def _model_builder(path, name) -> Any:
    """The function that returns a new model, from the name `module:function` in config.json."""
    module, colon, function = str(name).partition(":")
    if not colon:
        raise InputError(
            f"{path / CONFIG} does not name the function that builds its model; pass it as build."
        )
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"the model {printable(name)} of {path} cannot be imported.") from error


def _check_module(path, kind, name):
    """Raise InputError for a cell or a model whose module is not one of rnn_jax."""
    module, colon, _ = str(name).partition(":")
    if colon and module.partition(".")[0] != "rnn_jax":
        raise InputError(
            f"{path} uses the {kind} {printable(name)}, and importing its module runs code; if you "
            "trust it, allow it with `trust_modules=True`."
        )


def _abstract(build, settings):
    """The model with shapes instead of arrays, so that no settings can allocate memory."""
    try:
        return nnx.eval_shape(lambda: build(settings))
    except jax.errors.JAXTypeError:  # Its constructor uses the values of parameters.
        return build(settings)


def _rest(model):
    return jax.tree.leaves(nnx.state(model, nnx.Not(nnx.Param)))


def _restore(path, like, metric, best):
    """Restore a checkpoint; retry if training replaces it with a newer one meanwhile."""
    checkpoints = Checkpoints(path / CHECKPOINTS, metric=metric)
    for _ in range(5):
        steps = checkpoints.steps()
        try:
            restored = checkpoints.restore(like, subset=True, best=best)
        except InputError:
            if checkpoints.steps() == steps:
                raise
            continue
        if restored is not None:
            return restored
    if best and steps:
        raise InputError(f"{path} has no best checkpoint; train with `keep_best`, such as loss.")
    raise InputError(f"{path} has no checkpoint yet; resume the run first.")
