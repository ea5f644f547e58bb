"""Pictures of single digits from files, as the 28 x 28 grey values that MNIST is made of."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from rnn_jax.errors import InputError
from rnn_jax.originals import read_idx

SIZE, BOX = 28, 20
"""Sides of a picture, and of the box within that MNIST's digits were scaled to [pixels]."""


def read_images(path: Path) -> UInt8[np.ndarray, "N 28 28"]:
    """The pictures in a file, black ground and white ink: all of an IDX file, or the one of a PNG.

    A picture of another size than 28 x 28 is cropped to its ink, scaled into a box of 20 x 20 and
    placed with its centre of mass in the middle, as MNIST was made. Dark ink on a light ground is
    inverted.

    Raises:
      InputError: no such file, or one that holds no picture.

    Reference: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", 1998.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}; give PNG, JPEG or IDX files.")
    if "idx" in path.name and path.suffix in ("", ".gz"):
        try:
            images = read_idx(path)
        except Exception as error:
            raise InputError(f"{path} cannot be read as an IDX file: {error}.") from error
        if images.ndim != 3 or not images.size:
            raise InputError(f"{path} must hold images [N, rows, columns], got {images.shape}.")
        return np.stack([_as_mnist(image) for image in images])
    try:
        with Image.open(path) as image:
            grey = _grey(image)
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path} is no PNG, JPEG or IDX file that can be read.") from error
    return _as_mnist(grey)[None]


def _grey(image):
    if image.mode.startswith("I"):  # Sixteen bits, which Pillow would clip at 255.
        return (np.asarray(image) >> 8).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L"))


def _as_mnist(grey):
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = 255 - grey if np.median(edge) > 127 else grey
    picture = np.zeros((SIZE, SIZE), np.uint8)
    if ink.shape == picture.shape:
        return ink
    if not ink.any():
        return picture
    rows, columns = (np.flatnonzero(ink.max(axis) > ink.max() / 4) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    box = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BOX), float)
    weights = box / box.sum()
    top = round((SIZE - 1) / 2 - weights.sum(1) @ np.arange(height))
    left = round((SIZE - 1) / 2 - weights.sum(0) @ np.arange(width))
    top, left = np.clip(top, 0, SIZE - height), np.clip(left, 0, SIZE - width)
    picture[top : top + height, left : left + width] = box.round()
    return picture
