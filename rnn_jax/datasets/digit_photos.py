"""Image files of single digits, converted to 28 x 28 images like those of MNIST."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from rnn_jax.datasets import image_files
from rnn_jax.datasets.background import extract_ink
from rnn_jax.datasets.digits import SIZE, center_of_mass, find_digit, to_mnist
from rnn_jax.datasets.idx import is_idx, read_idx
from rnn_jax.errors import InputError
from rnn_jax.files import local_path

INK_RANGE = 0.03, 0.31
"""Range of the mean gray value (0 to 1) of 99.9 % of the MNIST training images."""


def read_images(path: str | Path) -> UInt8[np.ndarray, "N 28 28"]:
    """Read all images of an IDX file, or the digit in an image file, as white (255) on black (0).

    EXIF orientation is applied and the background removed, whether light or dark, colored or
    unevenly lit. The digit is located, stretched in contrast, scaled into a 20 x 20 box and
    centered by mass, as in MNIST. Images that already look like MNIST's (28 x 28, black background,
    centered) are returned unchanged, or inverted if the background is white. If there are several
    frames, the first is read.

    Raises:
      InputError: the file does not exist, is not a readable image file, or shows no digit.
    """
    path = local_path(path)
    image_files.check_file(path)
    if not is_idx(path):
        return _normalize(image_files.decode(path), str(path))[None]
    images = read_idx(path)
    if images.ndim != 3 or not images.size:
        raise InputError(
            f"{path} must contain images [N, rows, columns], got shape {list(images.shape)}."
        )
    if images.shape[1:] == (SIZE, SIZE):
        black, white = (np.mean(_edges(images) == level) for level in (0, 255))
        if black > 0.5:
            return images
        if white > 0.5:
            return 255 - images
    pixels = images.astype(np.float32)[..., None] / 255
    return np.stack([_normalize(each, f"{path}[{k}]") for k, each in enumerate(pixels)])


def unusual_ink(image: UInt8[np.ndarray, "28 28"]) -> str | None:
    """Describe an amount of ink that is unusual for MNIST; return None if it is usual."""
    ink = image.mean() / 255
    if INK_RANGE[0] <= ink <= INK_RANGE[1]:
        return None
    bounds = "{:.0%} to {:.0%}".format(*INK_RANGE)
    return f"{ink:.0%} of the image is ink, compared with {bounds} in MNIST"


def _normalize(pixels, name):
    if (image := _if_like_mnist(pixels)) is not None:
        return image
    digit = find_digit(extract_ink(pixels))
    if digit is None:
        raise InputError(f"no digit found in {name}; give an image of a single digit.")
    return to_mnist(digit)


def _if_like_mnist(pixels):
    """Return the image if its size, background, contrast and position are like MNIST's, or None."""
    if pixels.shape != (SIZE, SIZE, 1):
        return None
    image = np.round(255 * pixels[..., 0]).astype(np.uint8)
    background = _edges(image[None])[0]
    if background not in (0, 255):
        return None
    image = 255 - image if background else image
    if image.max() < 240:
        return None
    rows, columns = (np.flatnonzero(image.max(axis) > 127) for axis in (1, 0))
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    off = np.abs(np.subtract(center_of_mass(image), SIZE / 2)).max()
    return image if 14 <= longest <= 24 and off <= 4 else None


def _edges(images):
    """Return the median gray value along the edges of each image."""
    sides = images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]
    return np.median(np.concatenate(sides, -1), -1)
