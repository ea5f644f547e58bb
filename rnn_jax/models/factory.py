"""Models initialized from the settings of a run."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells.base import Cell
from rnn_jax.cells.registry import find_cell, takes
from rnn_jax.drivers.unroll import DriverLike
from rnn_jax.errors import InputError, check_size
from rnn_jax.initializers import parse_init
from rnn_jax.models.sequence import SequenceClassifier, SequenceModel

Model = TypeVar("Model", bound=nnx.Module)
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}
"""The dtype of matrix products by name; None keeps that of the parameters."""


def build_classifier(settings: Mapping, driver: DriverLike = "auto") -> SequenceClassifier:
    """Initialize a `SequenceClassifier` from the settings of a run.

    Args:
      settings: cell, hidden_size, forget_bias, input_size, projection_size, num_classes, readout
        and seed; init and dtype, if they are not the defaults.
      driver: as in `RNN`.

    Raises:
      InputError: a missing setting or an unknown cell.
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
    """Initialize a `SequenceModel` from the settings of a run.

    Args:
      settings: cell, hidden_size, input_size, output_size and seed; forget_bias, init and dtype, if
        they are not the defaults.

    Raises:
      InputError: a missing setting or an unknown cell.
    """
    sizes = "input_size", "output_size"
    return from_settings(
        settings,
        lambda cell, options: SequenceModel(cell, *map(settings.__getitem__, sizes), **options),
    )


def from_settings(settings: Mapping, make: Callable[[Cell, dict], Model]) -> Model:
    """Build the cell and the layer options of a run, and return `make(cell, options)`.

    Args:
      settings: cell, hidden_size, seed; forget_bias, init and dtype, if they are not the defaults.
      make: a function of the cell and a dictionary of init, dtype and rngs, as `RNN` takes them.

    Raises:
      InputError: a missing setting or an unknown cell.
    """
    if not isinstance(settings, Mapping):
        raise InputError(f"the settings of a run must be a dict, got a {type(settings).__name__}.")
    try:
        cell = find_cell(settings["cell"], settings["hidden_size"])
        if "forget_bias" in settings and takes(cell, "forget_bias"):
            cell = dataclasses.replace(cell, forget_bias=settings["forget_bias"])
        name = settings.get("dtype", "float32")
        if name not in list(DTYPES):
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}; got {name!r}.")
        check_size("seed", settings["seed"], least=0)
        options = {"init": parse_init(settings.get("init", "default")), "dtype": DTYPES[name]}
        return make(cell, options | {"rngs": nnx.Rngs(settings["seed"])})
    except KeyError as error:
        raise InputError(f"the settings of a run must name {error.args[0]}.") from error


def check_cell(name: str, hidden_size: int, init: str, forget_bias: float) -> None:
    """Raise InputError unless a cell of this name exists and accepts the options.

    Only an LSTM accepts a forget bias other than 1.
    """
    cell = find_cell(name, hidden_size)
    parse_init(init)
    if forget_bias != 1 and not takes(cell, "forget_bias"):
        raise InputError(f"`forget_bias` is for an LSTM; `cell={name}` has none.")
