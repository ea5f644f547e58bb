"""Labeled images from TFDS as NumPy arrays, and as sequences [N, T, D].

TFDS prepares a data set once (`tfds_images.py`). The arrays are then cached in the data folder,
under `rnn_jax_cache`, so that later runs start without importing TFDS, which is slow.
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
"""Order in which the pixels of an image form a sequence; see `to_sequences`."""

PERMUTATION_SEED = 92916
"""Seed of the permutation of "permuted-pixels", as in most published results."""

_CACHE = "rnn_jax_cache"
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "num_classes")


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """Gray images of 28 x 28 pixels with labels, in the splits of TFDS.

    Attributes:
      train_images, test_images: gray values from 0, black, to 255, white.
      train_labels, test_labels: the class of each image, in [0, num_classes).
      num_classes: number of classes.
      name: the TFDS name, e.g. `mnist` or `emnist/letters`.
      source: a phrase that describes the origin of the arrays.
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
    """Load a TFDS data set of gray 28 x 28 images with labels, without TensorFlow.

    The newest version prepared in `data_dir` is loaded. If there is none, TFDS prepares one there,
    from the bundled files or a download. A folder in TFRECORD format, which only TensorFlow can
    read, is left unchanged; the data set is then prepared again inside the cache folder.

    Args:
      name: the TFDS name, with a config if the data set has one: `mnist`, `emnist/letters`.
      data_dir: the TFDS data folder, by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      bundled: a folder with the four original .gz files of MNIST; unused by other data sets.

    Raises:
      InputError: the name is unknown, the images have another format or no labels, a file is
        damaged, the folder cannot be written, or a download is needed and the network is down.
    """
    root = local_path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    try:
        os.listdir(root)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(
            f"{root} cannot be read ({error.strerror}); pass another `data_dir`."
        ) from error
    folder, source = _newest_prepared(name, root), None
    if folder is None:
        # Imported here and below: importing TFDS takes longer than reading the cache.
        from rnn_jax.datasets import tfds_images

        bundled = bundled if name == "mnist" else None
        folder, source = tfds_images.prepare(name, root, root / _CACHE, bundled)
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
    """Return the folder of the newest complete version in array_record format, or None."""
    if not re.fullmatch(r"\w+(/\w[\w.+-]*)?", name):
        return None
    folders = [
        info.parent
        for base in (root, root / _CACHE)
        for info in base.glob(f"{name}/*/dataset_info.json")
        # TFDS names a folder incomplete.* until it is complete.
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name)
        and any(info.parent.glob("*.array_record*"))
    ]
    return max(folders, key=lambda f: [int(n) for n in f.name.split(".")], default=None)


def _stamp(folder: Path, root: Path) -> str:
    """List the prepared files with sizes and times; a cache with a different stamp is stale."""
    files = [(p.name, p.stat()) for p in sorted(folder.iterdir())]
    listing = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in files]
    return json.dumps([str(folder.relative_to(root)), listing])


def _read_cache(path: Path, stamp: str) -> dict | None:
    """Read the cached arrays, or return None if the cache is absent, out of date or damaged."""
    try:
        with open(path, "rb") as file, np.load(file) as cache:
            if cache["stamp"].item() != stamp:
                return None
            # Reading an array to its end verifies its CRC-32.
            arrays = {key: cache[key] for key in _ARRAYS}
    except Exception:
        # A damaged archive can raise almost any exception. The caller rebuilds the cache.
        return None
    return arrays | {"num_classes": int(arrays["num_classes"])}


def _write_cache(path: Path, stamp: str, arrays: dict) -> None:
    """Write the cache atomically; skip it if the folder cannot be written."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        for left_over in path.parent.glob(f".{path.name}.*"):  # From a killed process.
            left_over.unlink()
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, stamp=np.array(stamp), **arrays)


def to_sequences(
    images: UInt8[np.ndarray, "N 28 28"], order: str = "rows"
) -> Float32[np.ndarray, "N T D"]:
    """Convert images to sequences of gray values in [0, 1].

    `rows` gives [N, 28, 28], one row of pixels per step. `pixels` gives [N, 784, 1], one pixel per
    step. `permuted-pixels` is `pixels` in a fixed random order (`PERMUTATION_SEED`), the same for
    every image and run.

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
            "sequences [N, T, D] need no conversion."
        )
    if order != "rows":
        images = images.reshape(-1, 28 * 28, 1)
    if order == "permuted-pixels":  # Before conversion to floats, which are 4 times larger.
        # RandomState: NumPy guarantees its stream across versions, unlike that of default_rng.
        images = images[:, np.random.RandomState(PERMUTATION_SEED).permutation(28 * 28)]
    return np.divide(images, 255, dtype=np.float32)


def sequences(images: ImageData, order: str = "rows") -> tuple[np.ndarray, np.ndarray]:
    """Return the training and test images as checked sequences [N, T, D]; see `to_sequences`."""
    xs, test_xs = (to_sequences(part, order) for part in (images.train_images, images.test_images))
    check_sequences(xs, images.train_labels, images.num_classes)
    check_sequences(test_xs, images.test_labels, images.num_classes)
    return xs, test_xs


def check_sequences(xs: ArrayLike, labels: ArrayLike, num_classes: int) -> None:
    """Check training data: xs must be finite floats [N, T, D], labels integers [N].

    Raises:
      InputError: a wrong shape or dtype, no sequences, non-finite values, different lengths, or a
        label outside [0, num_classes).
    """
    xs, labels = np.asarray(xs), np.asarray(labels)
    if xs.ndim != 3 or xs.size == 0:
        raise InputError(
            f"xs must be a non-empty array [N, T, D] (sequences, steps, features), "
            f"got {list(xs.shape)}; for one feature per step pass xs[..., None]."
        )
    if xs.dtype.kind != "f" and xs.dtype.name != "bfloat16":
        raise InputError(f"xs must be floats, got {xs.dtype}; convert and scale it first.")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels must be integers [N], one class per sequence, "
            f"got {labels.dtype} {list(labels.shape)}."
        )
    if len(xs) != len(labels):
        raise InputError(
            f"xs and labels must have the same length, got {len(xs)} sequences and "
            f"{len(labels)} labels."
        )
    finite = np.isfinite(xs)
    if not finite.all():
        first = tuple(map(int, np.unravel_index(np.argmin(finite), xs.shape)))
        raise InputError(
            f"xs must be finite, got {np.sum(~finite)} values that are not, the first "
            f"{xs[first]} at xs[{', '.join(map(str, first))}]; remove or replace them."
        )
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        raise InputError(
            f"labels must be in [0, {num_classes}), got {outside.size} that are not, the first "
            f"{labels[outside[0]]} at labels[{outside[0]}]; correct them or increase num_classes."
        )
