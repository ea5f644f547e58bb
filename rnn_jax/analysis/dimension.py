"""The dimension of an attractor."""

import numpy as np
from numpy.typing import ArrayLike


def kaplan_yorke_dimension(exponents: ArrayLike) -> np.ndarray:
    """Kaplan-Yorke dimension of an attractor from all of its Lyapunov exponents [..., n]: [...].

        D = k + (λ_1 + ... + λ_k) / |λ_k+1|

    k is the largest number of leading exponents with a nonnegative sum. The dimension is 0 if all
    are negative, and n if the sum of all is nonnegative.

    Reference: Kaplan, Yorke (1979), "Chaotic behavior of multidimensional difference equations".
    """
    ordered = -np.sort(-np.asarray(exponents, np.float64), axis=-1)
    sums = np.cumsum(ordered, axis=-1)
    count = (np.maximum.accumulate(sums[..., ::-1] >= 0, axis=-1)).sum(-1)
    size = ordered.shape[-1]
    last = np.maximum(count - 1, 0)[..., None]
    at_last = np.take_along_axis(sums, last, -1)[..., 0]
    following = np.take_along_axis(ordered, np.minimum(count, size - 1)[..., None], -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = at_last / np.abs(following)
    inside = (count > 0) & (count < size)
    return np.where(inside, count + np.where(inside, fraction, 0), count)
