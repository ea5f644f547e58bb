"""Parameters by name in safetensors files, which other frameworks and languages can read."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.errors import InputError
from rnn_jax.files import printable
from rnn_jax.interop.files import read_file, write_file
from rnn_jax.numerics import named


def save_tensors(params: Any, path: str | Path) -> None:
    """Write all arrays of a pytree to a safetensors file, under names such as `rnn.params.w_h`.

    Args:
      params: parameters of a cell, or `nnx.state(model, nnx.Param)` of a model.
      path: the file to write.

    Raises:
      InputError: the package safetensors is not installed; the file cannot be written.
    """
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in named(params).items()}
    write_file(path, _library().save(arrays))


def load_tensors(like: Any, path: str | Path) -> Any:
    """Read a file that `save_tensors` wrote, as a pytree with the structure of `like`.

    Args:
      like: parameters with the same names and shapes, such as those of a new model.
      path: the file to read.

    Raises:
      InputError: the package safetensors is not installed; the file cannot be read; its names or
        shapes are not those of `like`.
    """
    path, library = Path(path), _library()
    data = read_file(path)
    try:
        arrays = library.load(data)
    except Exception as error:
        raise InputError(f"{printable(path)} is not a safetensors file ({error}).") from error
    want = named(like)
    if missing := sorted(want.keys() ^ arrays.keys()):
        where = "the file" if missing[0] in want else "the parameters"
        raise InputError(f"{printable(path)} does not fit: {missing[0]} is not in {where}.")
    for name, leaf in want.items():
        if arrays[name].shape != leaf.shape:
            raise InputError(
                f"{printable(path)} does not fit: {name} has shape {arrays[name].shape}, expected "
                f"{leaf.shape}."
            )
    return jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(arrays[n]) for n in want])


def _library():
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError(
            "safetensors is not installed; install it with pip install -e '.[export]'."
        ) from None
    return safetensors.numpy
