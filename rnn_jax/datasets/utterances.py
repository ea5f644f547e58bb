"""Training and test sets of spoken digits as padded arrays of log-mel features."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import signal

from rnn_jax.datasets.log_mel import BANDS, log_mel, normalized
from rnn_jax.datasets.spoken_digits import TEST_INDICES, Recordings, digit_strings, load_recordings
from rnn_jax.errors import InputError

SPEEDS = 0.8, 1.25
"""Slowest and fastest speed of `augmented`; the pitch changes with it."""
GAINS = 0.25, 2.0
"""Lowest and highest gain."""
NOISE = 10.0, 60.0
"""Lowest and highest signal-to-noise ratio [dB]."""
POINTS = 7
"""Number of frequencies from 0 to 4 kHz at which the equalizer has random gains."""
WITHOUT_DIGITS = 0.06
"""Fraction of noise strings in a training set, so that noise is not recognized as digits."""
DIGITS = 10


class Utterances(NamedTuple):
    """Utterances, padded with zeros to the longest.

    Attributes:
      xs: log-mel features in 16 bits, which halves the memory, [N, T, 40].
      lengths: the number of frames of each utterance [N].
      labels: one more than each digit, since class 0 is the blank of CTC, [N, L].
      counts: the number of digits of each utterance [N].
    """

    xs: Float[np.ndarray, "N T 40"]
    lengths: Int[np.ndarray, " N"]
    labels: Int[np.ndarray, "N L"]
    counts: Int[np.ndarray, " N"]

    def buckets(self, count: int = 3) -> tuple[int, ...]:
        """Numbers of frames that divide the utterances into equal shares; the last is T."""
        shares = np.arange(1, count + 1) / count
        return tuple(np.quantile(self.lengths, shares, method="higher").tolist())

    def strings(self) -> list[tuple[int, ...]]:
        """The labels of each utterance, without padding."""
        pairs = zip(self.labels.tolist(), self.counts, strict=True)
        return [tuple(labels[:count]) for labels, count in pairs]


def split(recordings: Recordings, held_out: str = "") -> tuple[Recordings, Recordings]:
    """The recordings for training and for testing: the official split, or a speaker held out.

    Raises:
      InputError: the speaker has no recordings, or none are left for training or testing.
    """
    is_test = recordings.indices < TEST_INDICES
    if held_out:
        names = np.unique(recordings.speakers)
        if held_out not in names:
            raise InputError(f"`held_out` must be one of {', '.join(names)}; got {held_out}.")
        is_test = recordings.speakers == held_out
    if is_test.all() or not is_test.any():
        raise InputError(
            f"{recordings.source} has recordings for training or for testing only; the test set "
            f"are the indices below {TEST_INDICES}, or the speaker of `held_out`."
        )
    return recordings.where(~is_test), recordings.where(is_test)


def load_split(
    data_dir: str | Path | None = None, held_out: str = ""
) -> tuple[Recordings, Recordings]:
    """Apply `load_recordings`, then `split`."""
    return split(load_recordings(data_dir), held_out)


def augmented(
    samples: Float[np.ndarray, " n"], random: np.random.Generator, equalizer: float = 0.0
) -> np.ndarray:
    """Change the speed, the gain and the noise of a recording randomly.

    The speed also scales all frequencies, like a different vocal tract length. In half of the
    cases the noise stops in pauses, like that of a recording between digital silences.

    Args:
      samples: the recording at 8 kHz.
      random: the generator for all choices.
      equalizer: standard deviation [dB] of an additional gain, and of the gain at each of
        `POINTS` frequencies, to mimic another microphone.

    Reference: Ko, Peddinti, Povey, Khudanpur (2015), "Audio augmentation for speech recognition".
    """
    level = np.sqrt(np.mean(samples**2)) * 10 ** (-random.uniform(*NOISE) / 20)
    noise = level * random.standard_normal(len(samples))
    if random.random() < 0.5:
        noise = noise * (samples != 0)
    slowest, fastest = np.log(SPEEDS)
    speed = Fraction(np.exp(random.uniform(slowest, fastest))).limit_denominator(20)
    samples = signal.resample_poly(samples + noise, speed.denominator, speed.numerator)
    if equalizer:
        decibels = random.standard_normal() + random.standard_normal(POINTS)
        gains = 10 ** (equalizer * decibels / 20)
        taps = signal.firwin2(65, np.linspace(0, 1, POINTS), gains)
        samples = signal.fftconvolve(samples, taps, mode="same")
    return (np.exp(random.uniform(*np.log(GAINS))) * samples).astype(np.float32)


def training_set(
    recordings: Recordings,
    seed: int,
    count: int,
    longest: int,
    equalizer: float = 0.0,
    *,
    normalize: bool = False,
) -> Utterances:
    """Strings of 1 to `longest` digits, or single recordings for 1, all `augmented`.

    A few strings have noise instead of the recordings, half of them also instead of the pauses,
    and no digits; see `WITHOUT_DIGITS`.
    """
    pauses = {"pauses": (0.0, 0.0)} if longest == 1 else {}
    sounds, labels = digit_strings(recordings, seed, count, longest=longest, **pauses)
    random = np.random.default_rng((seed, 1))
    if longest > 1:
        for n in np.flatnonzero(random.random(count) < WITHOUT_DIGITS):
            noise = 10 ** random.uniform(-5, -1) * random.standard_normal(len(sounds[n]))
            sounds[n] = noise * (sounds[n] != 0) if random.random() < 0.5 else noise
            labels[n] = labels[n][:0]
    sounds = [augmented(sound, random, equalizer) for sound in sounds]
    return as_utterances(sounds, labels, normalize=normalize)


def test_set(
    recordings: Recordings, count: int, longest: int, *, normalize: bool = False
) -> tuple[Utterances, Sequence[str]]:
    """Unchanged strings, `count` per speaker, or every recording for `longest=1`.

    Returns:
      The utterances, and the speaker of each.
    """
    if longest == 1:
        labels = list(recordings.digits[:, None])
        made = as_utterances(recordings.samples, labels, normalize=normalize)
        return made, list(recordings.speakers)
    sounds, labels, names = [], [], []
    for name in np.unique(recordings.speakers):
        own = recordings.where(recordings.speakers == name)
        made = digit_strings(own, 0, count, longest=longest)
        sounds += made[0]
        labels += made[1]
        names += [str(name)] * count
    return as_utterances(sounds, labels, normalize=normalize), names


def as_utterances(
    sounds: Sequence[np.ndarray], labels: Sequence[np.ndarray], *, normalize: bool = False
) -> Utterances:
    """Features, optionally `normalized`, and padded labels of sounds [n] at 8 kHz with digits."""
    features = [log_mel(sound) for sound in sounds]
    if normalize:
        features = [normalized(each) for each in features]
    lengths = np.array([len(each) for each in features], np.int32)
    counts = np.array([len(each) for each in labels], np.int32)
    xs = np.zeros((len(features), lengths.max(), BANDS), np.float16)
    padded = np.zeros((len(labels), counts.max()), np.int32)
    for n, (each, digits) in enumerate(zip(features, labels, strict=True)):
        xs[n, : len(each)] = each
        padded[n, : len(digits)] = digits + 1
    return Utterances(xs, lengths, padded, counts)


def statistics(utterances: Utterances) -> dict[str, list[float]]:
    """Mean and standard deviation of each feature over all frames, as settings of `CTCModel`."""
    valid = np.arange(utterances.xs.shape[1]) < utterances.lengths[:, None]
    frames = utterances.xs[valid].astype(np.float32)
    found = {"feature_mean": frames.mean(0), "feature_scale": frames.std(0) + 1e-3}
    return {name: np.round(values.astype(float), 3).tolist() for name, values in found.items()}
