"""Foreground extraction: separate ink in a photograph from paper, uneven light and shadows."""

import math

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy import ndimage

_SMALL = 96
"""Longest side of the reduced image on which the background is estimated [pixels]."""
_WINDOW = 0.26
"""Side of the morphological window, relative to the mean side of the reduced image. Ink must be
narrower than this; anything wider counts as background."""


def extract_ink(pixels: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W"]:
    """Estimate the amount of ink at each pixel: about 0 on the background, positive on ink.

    A smooth surface plus a morphological opening or closing models the background of each channel,
    including uneven light and shadows. The difference from it is projected onto its principal
    color direction. Ink can be darker or lighter than the background.

    Args:
      pixels: values in [0, 1]; C is 1 for gray and 3 for color.
    """
    height, width, _ = pixels.shape
    scale = min(1, _SMALL / max(height, width))
    small_size = max(1, round(height * scale)), max(1, round(width * scale))
    small = _resize(pixels, small_size, Image.Resampling.BOX)
    surface = np.stack([_fit_surface(channel) for channel in np.moveaxis(small, -1, 0)], -1)
    flat = small - surface
    window = _odd(_WINDOW * math.sqrt(height * width) * scale)
    direction = _principal_direction(flat)
    direction *= _polarity(flat @ direction, window)
    background = surface + np.stack(
        [
            _without_ink(channel, window, dark=weight < 0)
            for channel, weight in zip(np.moveaxis(flat, -1, 0), direction, strict=True)
        ],
        -1,
    )
    background = _resize(background, (height, width), Image.Resampling.BILINEAR)
    ink = pixels - background
    if (direction < 0.2).all():
        # Dark ink reflects a fraction of the light, so contrast is relative to the background.
        ink = ink / np.maximum(background, 0.1)
    return ink @ direction


def _fit_surface(values):
    """Fit a quadratic surface by iteratively reweighted least squares; ink counts as outliers."""
    height, width = values.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).reshape(-1, 6)
    target = values.ravel()
    fit = np.full(target.shape, np.median(target))
    for _ in range(10):
        residual = target - fit
        spread = max(1.4826 * np.median(np.abs(residual)), 1e-3)
        weights = np.maximum(1 - (residual / (4 * spread)) ** 2, 0) ** 2 + 1e-6
        normal = (terms * weights[:, None]).T @ terms + 1e-6 * np.eye(6)
        fit = terms @ np.linalg.solve(normal, (terms * weights[:, None]).T @ target)
    return fit.reshape(values.shape)


def _principal_direction(flat):
    """Return the unit vector of the strongest deviations from the background."""
    deviations = flat.reshape(-1, flat.shape[-1])
    lengths = np.linalg.norm(deviations, axis=-1)
    strong = deviations[lengths >= 0.5 * np.quantile(lengths, 0.995)]
    return np.linalg.eigh(strong.T @ strong)[1][:, -1]


def _polarity(values, window):
    """Return 1 if ink is above the background, -1 if it is below.

    Paper enclosed by strokes differs from the strokes too, but not from the rest of the paper. Ink
    must therefore also differ from the fitted surface or from the edges of the image. Either alone
    can fail: a digit that fills the image bends the surface, and a frame covers the edges.
    """
    above, below = values - _opening(values, window), _closing(values, window) - values
    edges = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    score = 0.0
    for level in (0, np.median(edges)):
        score += (np.minimum(above, np.maximum(values - level, 0)) ** 3).sum()
        score -= (np.minimum(below, np.maximum(level - values, 0)) ** 3).sum()
    return 1.0 if score >= 0 else -1.0


def _opening(values, window):
    return ndimage.grey_opening(_denoise(values), (window, window), mode="nearest")


def _closing(values, window):
    return ndimage.grey_closing(_denoise(values), (window, window), mode="nearest")


def _denoise(values):
    return ndimage.gaussian_filter(values, 0.7, mode="nearest")


def _without_ink(values, window, dark):
    """Remove dark ink by a morphological closing, or light ink by an opening.

    The estimate is biased toward the ink, so that the edge of a shadow does not count as ink.
    """
    if not dark:
        return -_without_ink(-values, window, dark=True)
    paper = ndimage.minimum_filter(_closing(values, window), 3, mode="nearest")
    return ndimage.gaussian_filter(paper, 0.7, mode="nearest")


def _odd(length):
    return 2 * max(1, round(length / 2)) + 1


def _resize(pixels, size, method):
    height, width = size
    channels = np.moveaxis(np.asarray(pixels, np.float32), -1, 0)
    resized = [Image.fromarray(c).resize((width, height), method) for c in channels]
    return np.stack([np.asarray(channel) for channel in resized], -1)
