"""Labelled images from TFDS as NumPy arrays, and as sequences [N, T, D] that a network reads.

TFDS prepares a data set once (`tfds_images.py`). Its arrays are then kept in the data folder, under
`rnn_jax_cache`, so that every later run starts without importing TFDS, which is slow.
"""

import contextlib
import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from numpy.typing import ArrayLike

from rnn_jax.errors import InputError
from rnn_jax.files import local_path, replacing

Order = Literal["rows", "pixels", "permuted-pixels"]
"""How an image becomes a sequence."""

PERMUTATION_SEED = 92916
"""Seeds the one permutation of "permuted-pixels": the seed most published results share."""

_CACHE = "rnn_jax_cache"
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "num_classes")


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """Images of 28 x 28 grey values with one label each, split as TFDS splits them.

    Attributes:
      train_images, test_images: grey values from 0, black, to 255, white.
      train_labels, test_labels: a class in [0, num_classes) for each image.
      num_classes: how many classes the data set has.
      name: the name TFDS gives it, `mnist` or `emnist/letters`.
      source: one phrase that says where the arrays came from.
    """

    train_images: UInt8[np.ndarray, "N 28 28"]
    train_labels: Int32[np.ndarray, " N"]
    test_images: UInt8[np.ndarray, "N_test 28 28"]
    test_labels: Int32[np.ndarray, " N_test"]
    num_classes: int
    name: str
    source: str


def load_images(
    name: str = "mnist", data_dir: str | Path | None = None, bundled: Path | None = None
) -> ImageData:
    """Load a TFDS data set of 28 x 28 single-channel images with labels; TensorFlow is not needed.

    The newest version already prepared in `data_dir` is taken. If there is none, TFDS prepares one
    there: from the bundled originals, or from what it downloads. A folder prepared as TFRECORD,
    which only TensorFlow reads, is left alone and the set prepared once more beside the cache.

    Args:
      name: a data set TFDS knows, with its config if it has any: `mnist`, `emnist/letters`.
      data_dir: TFDS's data folder; by default its own, $TFDS_DATA_DIR or ~/tensorflow_datasets.
      bundled: a folder with the four original .gz files of MNIST; no other set uses it.

    Raises:
      InputError: the name is unknown, the set holds anything but such images, a file is damaged,
        the folder cannot be written, or the set has to be downloaded and no network answers.
    """
    root = local_path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    try:
        os.listdir(root)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(
            f"{root} cannot be read ({error.strerror}); pass another data folder with --data-dir."
        ) from error
    folder, source = _newest_prepared(name, root), None
    if folder is None:
        # Imported here, and below, because TFDS takes longer to import than a cache to read.
        from rnn_jax.datasets import tfds_images

        originals = bundled if name == "mnist" else None
        folder, source = tfds_images.prepare(name, root, root / _CACHE, originals)
    source = source or f"TFDS {name} {folder.name} prepared in {folder}"

    cache = root / _CACHE / f"{name.replace('/', '-')}-{folder.name}.npz"
    stamp = _stamp(folder, root)
    arrays = _read_cache(cache, stamp)
    if arrays is not None:
        source += f", cached in {cache}"
    else:
        from rnn_jax.datasets import tfds_images

        arrays = tfds_images.read(folder)
        _write_cache(cache, stamp, arrays)
    return ImageData(**arrays, name=name, source=source)


def _newest_prepared(name: str, root: Path) -> Path | None:
    """The folder of the newest version that TFDS finished preparing as array_record, or None."""
    if not re.fullmatch(r"\w+(/\w[\w.+-]*)?", name):
        return None
    folders = [
        info.parent
        for base in (root, root / _CACHE)
        for info in base.glob(f"{name}/*/dataset_info.json")
        # While TFDS prepares, and after it was killed, the folder is called incomplete.*.
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name)
        and any(info.parent.glob("*.array_record*"))
    ]
    return max(folders, key=lambda f: [int(n) for n in f.name.split(".")], default=None)


def _stamp(folder: Path, root: Path) -> str:
    """Names the prepared files, their sizes and times: a cache of any others is out of date."""
    files = [(p.name, p.stat()) for p in sorted(folder.iterdir())]
    listing = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in files]
    return json.dumps([str(folder.relative_to(root)), listing])


def _read_cache(path: Path, stamp: str) -> dict | None:
    """The cached arrays, or None if the cache is absent, out of date or damaged."""
    try:
        with open(path, "rb") as file, np.load(file) as cache:
            if cache["stamp"].item() != stamp:
                return None
            # Reading an array to its end checks it against the CRC-32 that zip stores with it.
            arrays = {key: cache[key] for key in _ARRAYS}
    except Exception:
        # A damaged archive can raise almost anything. It is made again from the prepared files.
        return None
    return arrays | {"num_classes": int(arrays["num_classes"])}


def _write_cache(path: Path, stamp: str, arrays: dict) -> None:
    """Write the cache, whole or not at all; in a folder that cannot be written, not at all."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        for left_over in path.parent.glob(f".{path.name}.*"):  # By a process that was killed.
            left_over.unlink()
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, stamp=np.array(stamp), **arrays)


def to_sequences(
    images: UInt8[np.ndarray, "N 28 28"], order: str = "rows"
) -> Float32[np.ndarray, "N T D"]:
    """Read each image as a sequence of grey values scaled to [0, 1].

    `rows` gives [N, 28, 28], a row of pixels at each step; `pixels` gives [N, 784, 1], one pixel at
    a time; `permuted-pixels` gives the same in one fixed random order (PERMUTATION_SEED), the same
    in every run and for every image.

    Raises:
      InputError: the order is unknown, or the images are not uint8 [N, 28, 28].

    Reference: Le, Jaitly, Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified
    Linear Units", 2015.
    """
    if order not in get_args(Order):
        raise InputError(f"order must be one of {', '.join(get_args(Order))}, got {order!r}.")
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise InputError(
            f"images must be uint8 [N, 28, 28], got {images.dtype} {list(images.shape)}; "
            "sequences of your own need no conversion, only check_sequences."
        )
    if order != "rows":
        images = images.reshape(-1, 28 * 28, 1)
    if order == "permuted-pixels":  # Before the bytes become floats of four times their size.
        # RandomState, because NumPy promises its stream for ever, and default_rng's it does not.
        images = images[:, np.random.RandomState(PERMUTATION_SEED).permutation(28 * 28)]
    return np.divide(images, 255, dtype=np.float32)


def check_sequences(xs: ArrayLike, labels: ArrayLike, num_classes: int) -> None:
    """Check that sequences and labels can be trained on: xs floats [N, T, D], labels integers [N].

    Raises:
      InputError: a wrong shape or kind of number, no sequences, values that are not finite, lengths
        that differ, or a label outside [0, num_classes).
    """
    xs, labels = np.asarray(xs), np.asarray(labels)
    if xs.ndim != 3 or xs.size == 0:
        raise InputError(
            f"xs must be [N, T, D] (sequences, steps, features), none of them 0, "
            f"got {list(xs.shape)}; one feature a step is D = 1, xs[..., None]."
        )
    if xs.dtype.kind != "f" and xs.dtype.name != "bfloat16":
        raise InputError(f"xs must be floats, got {xs.dtype}; convert and scale it first.")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels must be integers [N], one class for each sequence, "
            f"got {labels.dtype} {list(labels.shape)}."
        )
    if len(xs) != len(labels):
        raise InputError(
            f"xs has {len(xs)} sequences and labels has {len(labels)} entries; give one for each."
        )
    finite = np.isfinite(xs)
    if not finite.all():
        first = tuple(map(int, np.unravel_index(np.argmin(finite), xs.shape)))
        raise InputError(
            f"xs has {np.sum(~finite)} values that are not finite, the first {xs[first]} at "
            f"xs[{', '.join(map(str, first))}]; remove or replace them."
        )
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        raise InputError(
            f"labels must lie in [0, {num_classes}), but {outside.size} do not, the first "
            f"{labels[outside[0]]} at labels[{outside[0]}]; correct them or raise num_classes."
        )
