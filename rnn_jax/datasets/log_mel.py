"""Log-mel features of audio, computed from blocks of samples of any length."""

import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import ndimage, signal

RATE = 8_000
"""Sampling rate of the features [Hz]; audio at other rates is resampled."""
WINDOW, HOP = 200, 80
"""Length of a window, and distance from one to the next [samples]: 25 ms and 10 ms."""
BANDS = 40
"""Number of mel bands from 0 Hz to half of the rate."""
FLOOR = 1e-7
"""Added before the logarithm; white noise with standard deviation s has a power of s^2."""
POINTS = 512
"""Length of the Fourier transform: longer than a window, so that every band has a bin."""
CHUNK = 1_000
"""Number of frames computed at once."""
LOUDNESS = 4.0
"""A frame with sound has at least e^-4 of the power of the loudest frame: -17 dB."""
PAUSE = 100
"""Number of silent frames before and after sound that `normalized` averages with it."""


def log_mel(samples: Float[np.ndarray, " n"], rate: int = RATE) -> Float[np.ndarray, "T 40"]:
    """Log-mel features [T, 40] of a whole recording; see `log_mel_blocks`."""
    return np.concatenate([np.zeros((0, BANDS), np.float32), *log_mel_blocks([samples], rate)])


def log_mel_blocks(blocks: Iterable[np.ndarray], rate: int = RATE) -> Iterator[np.ndarray]:
    """Yield the log-mel features of a recording given in blocks, as soon as they are available.

        features[t, band] = ln(FLOOR + Σ_k filter[band, k] |FFT(window * samples)[t, k]|²)

    The mean of the samples in each window is subtracted first, which removes a DC offset.
    The result does not depend on the division into blocks. A recording of n samples at 8 kHz has
    T = 1 + (n - 200) // 80 frames, and none if it is shorter than a window.

    Args:
      blocks: mono samples from -1 to 1, [n].
      rate: their rate [Hz].
    Reference: Davis, Mermelstein (1980), "Comparison of parametric representations for monosyllabic
      word recognition in continuously spoken sentences".
    """
    window = np.asarray(signal.get_window("hann", WINDOW), np.float32)
    filters = _mel_filters().astype(np.float32) / np.sum(window**2)
    pending = np.zeros(0, np.float32)
    for block in resampled(blocks, rate):
        pending = np.concatenate([pending, block])
        while len(pending) >= WINDOW:
            count = min(CHUNK, 1 + (len(pending) - WINDOW) // HOP)
            frames = np.lib.stride_tricks.sliding_window_view(pending, WINDOW)[: count * HOP : HOP]
            frames = frames - frames.mean(1, keepdims=True)
            power = np.abs(np.fft.rfft(frames * window, POINTS)).astype(np.float32) ** 2
            yield np.log(power @ filters + np.float32(FLOOR))
            pending = pending[count * HOP :]


def normalized(features: Float[np.ndarray, "T 40"]) -> Float[np.ndarray, "T 40"]:
    """Subtract the mean over the frames with sound, to compensate for gain and microphone.

    A gain or a frequency response adds a constant to the features of a band, except at `FLOOR`. A
    frame counts in the mean if there is a loud frame within `PAUSE` frames; a frame is loud if its
    mean over the bands is at most `LOUDNESS` below that of the loudest frame.

    Reference: Atal (1974), "Effectiveness of linear prediction characteristics of the speech wave
      for automatic speaker identification and verification".
    """
    if not len(features):
        return features
    level = features.mean(1)
    loud = level >= level.max() - LOUDNESS
    with_sound = ndimage.maximum_filter1d(loud, 2 * PAUSE + 1, mode="constant") > 0
    return features - features[with_sound].mean(0)


def resampled(blocks: Iterable[np.ndarray], rate: int, to: int = RATE) -> Iterator[np.ndarray]:
    """Resample a recording given in blocks, like `scipy.signal.resample_poly` on the whole.

    Args:
      blocks: samples at `rate` [n].
      rate, to: the old and the new rate [Hz].
    """
    up, down = to // math.gcd(rate, to), rate // math.gcd(rate, to)
    if up == down:
        yield from blocks
        return
    half = 10 * max(up, down)
    kaiser: Any = ("kaiser", 5.0)
    taps = up * signal.firwin(2 * half + 1, 1 / max(up, down), window=kaiser)
    # Zeros before the taps make the delay a multiple of `down`, so the output is on its grid.
    taps = np.concatenate([np.zeros(-half % down), taps])
    delay = (len(taps) - half - 1) // down
    context = -(-half // (up * down)) * down  # Samples needed before and after an output.
    pending = np.zeros(context, np.float32)
    read = written = 0

    def ready():
        """Filter the samples whose context is complete; keep the rest."""
        nonlocal pending
        usable = max(0, len(pending) - 2 * context) // down * down
        filtered = signal.upfirdn(taps, pending[: usable + 2 * context], up, down)
        first = delay + context // down * up
        pending = pending[usable:]
        return filtered[first : first + usable // down * up].astype(np.float32)

    for block in blocks:
        pending = np.concatenate([pending, block])
        read += len(block)
        if len(pending) >= 2 * context + down:
            yield (made := ready())
            written += len(made)
    pending = np.concatenate([pending, np.zeros(context + down, np.float32)])
    yield ready()[: -(-read * up // down) - written]


@cache
def _mel_filters():
    """Triangles of equal width on the mel scale, with a sum of 1 each, [POINTS // 2 + 1, BANDS]."""
    highest = 2595 * math.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(POINTS, 1 / RATE)[:, None]
    rising = (hertz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz) / np.diff(edges)[1:]
    weights = np.maximum(0, np.minimum(rising, falling))
    return weights / weights.sum(0)
