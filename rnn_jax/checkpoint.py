"""Parameters on disk: everything that touches Orbax."""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from rnn_jax.errors import InputError

DIGESTS = "sha256.json"


def _named(params: nnx.State) -> dict[str, jax.Array]:
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(params))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _digest(array: jax.Array) -> str:
    return hashlib.sha256(np.asarray(array).tobytes()).hexdigest()


def save_params(path: Path, params: nnx.State) -> None:
    """Write parameters to the new folder `path`, with a SHA-256 of each array beside them."""
    path = path.absolute()
    named = _named(params)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / "arrays", named)
    digests = {name: _digest(array) for name, array in named.items()}
    (path / DIGESTS).write_text(json.dumps(digests, indent=2) + "\n")


def load_params(path: Path, like: nnx.State) -> nnx.State:
    """Read parameters that `save_params` wrote, into the names, shapes and dtypes of `like`.

    Orbax restores an array with a flipped bit without a word; here each is held against its digest.

    Raises:
      InputError: no parameters there, others than expected, or damaged ones.
    """
    path = path.absolute()
    if not (path / DIGESTS).exists():
        raise InputError(f"{path} holds no complete set of parameters; train the model once more.")
    digests = json.loads((path / DIGESTS).read_text())
    target = _named(like)
    if digests.keys() != target.keys():
        raise InputError(
            f"{path} holds the parameters {sorted(digests)}, the model has {sorted(target)}."
        )
    named = _restore(path, target)
    for name, array in named.items():
        if array.shape != target[name].shape:
            raise InputError(
                f"{name} in {path} has shape {array.shape}, the model's has {target[name].shape}."
            )
        if _digest(array) != digests[name]:
            raise InputError(
                f"{name} in {path} is damaged: its SHA-256 is not the one it was saved with; "
                "train the model once more."
            )
    leaves = [named[name] for name in target]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _restore(path, target):
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), target)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path / "arrays", abstract)
    except Exception as error:  # Orbax raises bare exceptions for damaged files.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"the parameters in {path} cannot be read: {reason[:200]}") from error
