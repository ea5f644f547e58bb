"""Trained models as StableHLO programs in files, which run without the model's code."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.errors import InputError, check_extra
from rnn_jax.files import printable
from rnn_jax.interop.files import read_file, write_file
from rnn_jax.numerics import named


def export_sequences(
    model: nnx.Module,
    path: str | Path,
    input_size: int,
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> None:
    """Write a program that maps sequences xs [T, B, D] to the outputs of a model, for any T and B.

    The program calls `model(xs)` and contains its parameters. With a symbolic T, the default driver
    is the scan; a driver that needs a fixed T cannot be exported.

    Args:
      model: a time-major model, such as `SequenceModel`, `SequenceClassifier` or `RNN`. If it
        returns (carry, ys), the program returns ys.
      path: the file to write.
      input_size: D.
      platforms: the platforms to compile for, as named by `jax.export`.

    Raises:
      InputError: flatbuffers is not installed; the file cannot be written.
    """
    graphdef, params = nnx.split(model)

    def run(xs):
        results = nnx.merge(graphdef, params)(xs)
        return results[1] if isinstance(results, tuple) else results

    steps, size = jax.export.symbolic_shape("t, b")
    xs = jax.ShapeDtypeStruct((steps, size, input_size), jnp.float32)
    _write(run, (xs,), path, platforms)


def export_step(
    model: Any,
    path: str | Path,
    input_size: int,
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> None:
    """Write a program for one step of streams: (carry, x, resets) -> (carry, y), for any B.

    The carry is a dict of arrays [B, H], named by their fields. A stream with a reset starts from
    the model's initial carry, so zeros with the right shapes and resets start a new stream.

    Args:
      model: a time-major `RNN` or `SequenceModel`.
      path: the file to write.
      input_size: D, so that x is [B, D].
      platforms: as in `export_sequences`.

    Raises:
      InputError: the model has no such step; flatbuffers is not installed; the file cannot be
        written.
    """
    graphdef, params = nnx.split(model)
    layer = getattr(model, "rnn", model)
    if not hasattr(layer, "cell"):
        raise InputError(
            f"export_step needs an RNN or a SequenceModel, got {type(model).__name__}; its step "
            "can be exported with jax.export directly."
        )
    (size,) = jax.export.symbolic_shape("b")
    weights = layer.weights()
    start = jax.eval_shape(lambda: layer.cell.start(weights, (1,)))
    structure = jax.tree.structure(start)
    fields = {
        name: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
        for name, leaf in named(start).items()
    }

    def run(carry, x, resets):
        before = structure.unflatten([carry[name] for name in fields])
        after, ys = nnx.merge(graphdef, params)(x[None], before, resets=resets[None])
        return named(after), ys[0]

    x = jax.ShapeDtypeStruct((size, input_size), jnp.float32)
    _write(run, (fields, x, jax.ShapeDtypeStruct((size,), jnp.bool_)), path, platforms)


def load_exported(path: str | Path) -> Callable:
    """Read a program that `export_sequences` or `export_step` wrote, as a function.

    Raises:
      InputError: flatbuffers is not installed; the file cannot be read, or holds no such program.
    """
    _check_installed()
    data = bytearray(read_file(path))
    try:
        return jax.export.deserialize(data).call
    except Exception as error:
        raise InputError(
            f"{printable(Path(path))} is not a program written by export_sequences or export_step "
            f"({type(error).__name__})."
        ) from error


def _check_installed():
    check_extra("an exported program", "flatbuffers", "export")


def _write(run, shapes, path, platforms):
    _check_installed()
    exported = jax.export.export(jax.jit(run), platforms=tuple(platforms))(*shapes)
    write_file(path, exported.serialize())
