"""Streams of tones: sums of sines, and sums of the same cosines; NumPy only."""

import numpy as np

PERIODS = 12.0, 60.0
"""Shortest and longest period of a tone [steps]."""
TONES = 2
"""Number of tones in a stream."""


def streams(seed: int, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of sines and of the same cosines, [count, length] each, with mean square 1/2."""
    random = np.random.default_rng(seed)
    shortest, longest = np.log(PERIODS)
    period = np.exp(random.uniform(shortest, longest, (TONES, count, 1)))
    angle = random.uniform(0, 2 * np.pi, (TONES, count, 1)) + 2 * np.pi / period * np.arange(length)
    weight = random.dirichlet(np.ones(TONES), count).T[..., None] ** 0.5
    sines, cosines = ((weight * wave(angle)).sum(0) for wave in (np.sin, np.cos))
    return sines.astype(np.float32), cosines.astype(np.float32)
