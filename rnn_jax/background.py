"""Foreground extraction: the ink of a photograph without its paper, light and shadows."""

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy import ndimage

_SMALL = 96
"""Longest side of the copy that the background is estimated on [pixels]."""
_WINDOW = 0.26
"""Side of the morphological window, as a fraction of its longest side. A structure that is
narrower is ink, a wider one belongs to the background."""


def extract_ink(pixels: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W"]:
    """Return how much ink there is at each pixel: about 0 on the background, positive on ink.

    A smooth surface and a morphological opening or closing model the background of each channel, so
    uneven light and shadows leave no trace. The colors of what remains are projected on their
    principal direction. Ink may be darker or lighter than the background.

    Args:
      pixels: values in [0, 1]; C is 1 for gray and 3 for color.
    """
    height, width, _ = pixels.shape
    scale = min(1, _SMALL / max(height, width))
    small_size = max(1, round(height * scale)), max(1, round(width * scale))
    small = _resize(pixels, small_size, Image.Resampling.BOX)
    surface = np.stack([_fit_surface(channel) for channel in np.moveaxis(small, -1, 0)], -1)
    flat = small - surface
    window = _odd(_WINDOW * max(small_size))
    direction = _principal_direction(flat)
    direction *= _polarity(flat @ direction, window)
    background = surface + np.stack(
        [
            _smooth(_closing(channel, window) if weight < 0 else _opening(channel, window))
            for channel, weight in zip(np.moveaxis(flat, -1, 0), direction, strict=True)
        ],
        -1,
    )
    background = _resize(background, (height, width), Image.Resampling.BILINEAR)
    ink = pixels - background
    if (direction < 0.2).all():
        # Dark ink reflects a share of the light, so its contrast is relative to the background.
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
    """Return the unit vector along which the strongest deviations from the background lie."""
    deviations = flat.reshape(-1, flat.shape[-1])
    lengths = np.linalg.norm(deviations, axis=-1)
    strong = deviations[lengths >= 0.5 * np.quantile(lengths, 0.995)]
    return np.linalg.eigh(strong.T @ strong)[1][:, -1]


def _polarity(values, window):
    """Return 1 where ink is above the background, and -1 where it is below.

    Paper that is enclosed by strokes stands out from them as well, but not from the rest of the
    paper: what counts as ink must stand out from both.
    """
    above = np.minimum(values - _opening(values, window), np.maximum(values, 0))
    below = np.minimum(_closing(values, window) - values, np.maximum(-values, 0))
    return 1.0 if (above**3).sum() >= (below**3).sum() else -1.0


def _opening(values, window):
    return ndimage.grey_opening(_denoise(values), (window, window), mode="nearest")


def _closing(values, window):
    return ndimage.grey_closing(_denoise(values), (window, window), mode="nearest")


def _denoise(values):
    return ndimage.gaussian_filter(values, 0.7, mode="nearest")


def _smooth(values):
    return ndimage.gaussian_filter(values, 1.0, mode="nearest")


def _odd(length):
    return 2 * max(1, round(length / 2)) + 1


def _resize(pixels, size, method):
    height, width = size
    channels = np.moveaxis(np.asarray(pixels, np.float32), -1, 0)
    resized = [Image.fromarray(c).resize((width, height), method) for c in channels]
    return np.stack([np.asarray(channel) for channel in resized], -1)
