"""Localization of a digit in an image, and normalization to the format of MNIST."""

from typing import Any

import numpy as np
from jaxtyping import Float, Num, UInt8
from PIL import Image
from scipy import ndimage

SIZE, BOX = 28, 20
"""Side lengths of an MNIST image, and of the box to which its digit is scaled [pixels]."""
CENTER = 14
"""Row and column of the center of mass of every MNIST digit [pixels]."""
_THIN, _NORMAL = 1.8, 2.2
"""Strokes thinner than `_THIN` are widened to `_NORMAL` [pixels of the box]."""
_LEAST_CONTRAST = 0.04
"""Minimum contrast between ink and background, as a fraction of the full range."""


def find_digit(ink: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "h w"] | None:
    """Crop the digit in an image and scale it to [0, 1]. Return None if there is no digit.

    The digit is the group of connected components with the most ink, weighted by centrality. A
    component along a large part of an edge is a frame, the table or other paper, not a digit.

    Args:
      ink: amount of ink per pixel, about 0 on the background; see `extract_ink`.
    """
    smooth = ndimage.gaussian_filter(ink, 0.6)
    # Use low quantiles, since ink can cover half of a tightly cropped image.
    noise = np.ptp(np.quantile(smooth, (0.1, 0.3))) / 0.758
    floor = max(6 * noise, _LEAST_CONTRAST)
    inside = _without_borders(smooth, smooth > floor)
    if not inside.any():
        return None
    strong = np.quantile(smooth[inside], 0.9)
    mask = inside & (smooth > max(floor, 0.4 * strong))
    mask = _main_group(smooth, mask)
    if mask is None:
        return None
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if max(np.ptp(rows), np.ptp(columns)) + 1 < max(5, 0.015 * max(ink.shape)):
        return None
    full = np.quantile(ink[mask], 0.75)
    low = max(0.1 * full, min(3 * noise, 0.3 * full))
    around = ndimage.binary_dilation(mask, iterations=2)
    values = np.where(around, np.clip((ink - low) / (full - low), 0, 1), 0)
    box = values >= 0.2
    rows, columns = (np.flatnonzero(box.any(axis)) for axis in (1, 0))
    return values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def to_mnist(digit: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "28 28"]:
    """Scale a cropped digit in [0, 1] into a box of 20 x 20, centered by mass in 28 x 28.

    Strokes too thin for that resolution are widened. The aspect ratio is preserved.

    Reference: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", 1998.
    """
    scale = BOX / max(digit.shape)
    digit = _widen(digit, scale)
    scale = BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    image = Image.fromarray(digit.astype(np.float32)).resize((width, height), method)
    box = np.asarray(image, float)
    box = np.clip(box / np.quantile(box[box > 0.3 * box.max()], 0.8), 0, 1)
    top, left = (round(CENTER - center) for center in center_of_mass(box))
    top, left = np.clip(top, 0, SIZE - height), np.clip(left, 0, SIZE - width)
    picture = np.zeros((SIZE, SIZE), np.uint8)
    picture[top : top + height, left : left + width] = (255 * box).round()
    return picture


def center_of_mass(image: Num[np.ndarray, "h w"]) -> tuple[float, float]:
    """Return the row and the column of the center of mass."""
    weights = image / image.sum()
    return weights.sum(1) @ np.arange(len(weights)), weights.sum(0) @ np.arange(weights.shape[1])


def _edge_distances(mask) -> np.ndarray:
    """Return the distance of each pixel of the mask to the nearest pixel outside."""
    distances: Any = ndimage.distance_transform_edt(mask)
    return distances


def _components(mask) -> tuple[np.ndarray, int]:
    """Label the 8-connected components of the mask from 1, and return their number."""
    found: Any = ndimage.label(mask, np.ones((3, 3)))
    return found


def _widen(digit, scale):
    """Widen strokes that would be thinner than `_THIN` once scaled."""
    mask = np.pad(digit >= 0.5, 1)
    distances = _edge_distances(mask)[mask]
    # Averaged across a stroke, the distance to its edge is a quarter of its width.
    width = 4 * distances.mean() - 1 if distances.size else 1.0
    if width * scale >= _THIN:
        return digit
    radius = (_NORMAL / scale - width) / 2
    padded = np.pad(digit, int(np.ceil(radius)) + 1)
    away = _edge_distances(padded < 0.5)
    return np.maximum(padded, np.clip(radius + 1 - away, 0, 1))


def _without_borders(ink, mask):
    """Remove components that extend along an edge of the image."""
    labels, count = _components(mask)
    if not count:
        return mask
    removed = []
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        lengths = np.bincount(side, minlength=count + 1)
        removed += [k for k in range(1, count + 1) if lengths[k] > 0.35 * len(side)]
    return mask & ~np.isin(labels, removed)


def _main_group(ink, mask):
    """Return the mask of the digit: the group of close components with the most central ink."""
    near = max(1, round(0.01 * max(mask.shape)))
    labels, count = _components(_grow(mask, near))
    if not count:
        return None
    numbers = np.arange(1, count + 1)
    labels = np.where(mask, labels, 0)
    mass = ndimage.sum(ink, labels, numbers)
    boxes = ndimage.find_objects(labels, count)
    scores = [m * _centrality(box, mask.shape) for m, box in zip(mass, boxes, strict=True)]
    main = int(np.argmax(scores))
    rows, columns = boxes[main]
    reach = round(0.2 * max(rows.stop - rows.start, columns.stop - columns.start))
    members = [
        k + 1
        for k, (r, c) in enumerate(boxes)
        if mass[k] >= 0.02 * mass[main]
        and not _touches(boxes[k], mask.shape)
        and max(r.start - rows.stop, rows.start - r.stop) < reach
        and max(c.start - columns.stop, columns.start - c.stop) < reach
    ]
    return np.isin(labels, [*members, main + 1])


def _centrality(box, shape):
    center = [((s.start + s.stop) / 2 / n - 0.5) * 2 for s, n in zip(box, shape, strict=True)]
    weight = 1 - 0.6 * max(map(abs, center))
    return weight * (0.3 if _touches(box, shape) else 1)


def _touches(box, shape):
    return any(s.start == 0 or s.stop == n for s, n in zip(box, shape, strict=True))


def _grow(mask, reach):
    size = 2 * reach + 1
    return ndimage.maximum_filter(mask, size)
