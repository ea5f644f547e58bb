"""Parameters on disk: everything that touches Orbax."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from jax.sharding import SingleDeviceSharding

from rnn_jax.errors import InputError

CONTENTS = "contents.json"


def _named(params: nnx.State) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(params))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _sha256(array: jax.Array) -> str:
    return hashlib.sha256(np.asarray(array).tobytes()).hexdigest()


def save_params(path: Path, params: nnx.State) -> None:
    """Write parameters to the new folder `path`, with the shape and SHA-256 of each beside them.

    Where there are several processes, all of them call it, with the same path.
    """
    path = path.absolute()
    named = _named(params)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / "arrays", named)
    contents = {name: {"shape": x.shape, "sha256": _sha256(x)} for name, x in named.items()}
    if jax.process_index() == 0:
        (path / CONTENTS).write_text(json.dumps(contents, indent=2) + "\n")


def load_params(path: Path, like: nnx.State) -> nnx.State:
    """Read parameters that `save_params` wrote, into the names, shapes and dtypes of `like`.

    Orbax restores an array with a flipped bit without a word; here each is held against its digest.

    Raises:
      InputError: no parameters there, others than expected, or damaged ones.
    """
    path = path.absolute()
    try:
        contents = json.loads((path / CONTENTS).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path} holds no complete set of parameters; train the model once more."
        ) from error
    target = _named(like)
    stored = {name: tuple(content["shape"]) for name, content in contents.items()}
    wanted = {name: leaf.shape for name, leaf in target.items()}
    if stored != wanted:
        raise InputError(f"{path} holds the parameters {stored}, the model has {wanted}.")
    named = _restore(path, target)
    for name, array in named.items():
        if _sha256(array) != contents[name]["sha256"]:
            raise InputError(
                f"{name} in {path} is damaged: its SHA-256 is not the one it was saved with; "
                "train the model once more."
            )
    return jax.tree.unflatten(jax.tree.structure(like), [named[name] for name in target])


def _restore(path, target):
    # Told where to, Orbax does not ask for the devices that the arrays were saved from.
    here = SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), target)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path / "arrays", abstract)
    except Exception as error:  # Orbax raises bare exceptions for damaged files.
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise InputError(f"the parameters in {path} cannot be read: {reason}") from error
