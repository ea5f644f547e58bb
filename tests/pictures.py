"""Test images: a slanted stroke, image files, and the path of the MNIST test images."""

import numpy as np
from image_sets import BUNDLED
from PIL import Image

TEST_IMAGES = BUNDLED / "t10k-images-idx3-ubyte.gz"


def stroke(size=28):
    """A slanted white stroke on black, off center, in the proportions of a digit."""
    picture = np.zeros((size, size), np.uint8)
    for row in range(size // 5, 4 * size // 5):
        start = size // 4 + (size - row) // 5
        picture[row, start : start + size // 8] = 255
    return picture


def saved(path, picture):
    Image.fromarray(picture).save(path)
    return path
