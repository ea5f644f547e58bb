"""Checks that all processes of a run have the same settings, code, versions and data."""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

import rnn_jax
from rnn_jax.datasets.sources import Source
from rnn_jax.errors import InputError, RunError
from rnn_jax.typing import Data

OWN = "process_id", "coordinator", "data_dir", "start_timeout"
"""Settings that may differ between processes."""


def check_settings(settings: Mapping[str, object]) -> None:
    """Raise InputError, in every process, unless all have the same settings, code and versions."""
    facts = {name: str(value) for name, value in settings.items() if name not in OWN}
    facts |= {"script": Path(sys.argv[0]).name, "jax": jax.__version__}
    facts |= {"python": sys.version.split()[0], "source of rnn_jax": _source_digest()}
    _check_same(facts, InputError, "start all processes with the same settings and the same code")


def check_data(data: Data) -> None:
    """Raise InputError, in every process, unless all have the same arrays.

    For a source, the number of examples and the first and last examples are compared.
    """
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves(jax.tree.map(_sampled, data))):
        digest.update(f"{leaf.shape} {leaf.dtype}".encode())
        digest.update(np.ascontiguousarray(leaf).data)
    facts = {"data": digest.hexdigest()[:12]}
    _check_same(facts, InputError, "give all processes the same data")


def _sampled(leaf):
    if isinstance(leaf, Source):
        return len(leaf), leaf[np.array([0, len(leaf) - 1])]
    return leaf


def check_folder(path: Path) -> None:
    """Raise RunError, in every process, unless all see the same files in the folder of a run."""
    if jax.process_count() == 1:
        return
    try:
        names = sorted(str(each.relative_to(path)) for each in path.glob("*[!.]*/*"))
        names += sorted(each.name for each in path.iterdir() if each.name[0] != ".")
    except OSError:
        names = []
    what = f"{len(names)} files" if names else "none"
    digest = hashlib.sha256("\n".join(names).encode(errors="replace")).hexdigest()[:8]
    facts = {f"files in {path}": f"{what} ({digest})"}
    _check_same(facts, RunError, "give an `out_dir` that all processes share")


def check_restored(step: int) -> None:
    """Raise RunError, in every process, unless all continue from the same step."""
    facts = {"step of the checkpoint restored": str(step)}
    _check_same(facts, RunError, "make every checkpoint readable for all processes")


def _check_same(facts, error, remedy):
    if jax.process_count() == 1:
        return
    first, *others = _gathered(facts)
    for number, other in enumerate(others, 1):
        names = [name for name in first | other if first.get(name) != other.get(name)]
        if names:
            found = ", ".join(f"{name} {other.get(name)}, not {first.get(name)}" for name in names)
            raise error(f"process {number} differs from process 0: {found}; {remedy}.")


def _gathered(facts):
    """The facts of all processes, in order."""
    text = json.dumps(facts).encode()
    (size,) = np.ravel(multihost_utils.process_allgather(np.int32(len(text)))).max(keepdims=True)
    padded = np.frombuffer(text.ljust(int(size)), np.uint8)
    return [json.loads(row.tobytes()) for row in multihost_utils.process_allgather(padded)]


def _source_digest():
    digest, root = hashlib.sha256(), Path(rnn_jax.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
