"""Log-mel features, and resampling, of recordings in blocks."""

import math

import numpy as np
import pytest
from scipy import signal

from rnn_jax.datasets.log_mel import (
    BANDS,
    FLOOR,
    HOP,
    RATE,
    WINDOW,
    log_mel,
    log_mel_blocks,
    normalized,
    resampled,
)

RATES = [8_000, 44_100, 16_000, 11_025, 48_000, 6_000, 7_919]


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


def sine(hertz, rate=RATE, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def cut(samples, seed=1):
    places = np.random.default_rng(seed).integers(0, len(samples), 20)
    return np.split(samples, np.sort(places))


@pytest.mark.parametrize("rate", RATES)
def test_resampled_blocks_are_those_of_scipy_for_the_whole(rate):
    samples = noise(rate // 3 + 5)
    common = math.gcd(rate, RATE)
    expected = signal.resample_poly(samples, RATE // common, rate // common)
    made = np.concatenate(list(resampled(cut(samples), rate)))
    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert all(len(np.concatenate(list(resampled([samples[:n]], rate)))) for n in (1, 2))


@pytest.mark.parametrize("rate", RATES)
def test_features_do_not_depend_on_the_blocks(rate):
    samples = noise(rate // 2)
    blocks = np.concatenate(list(log_mel_blocks(cut(samples), rate)))
    np.testing.assert_allclose(blocks, log_mel(samples, rate), atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 199, 200, 279, 280, 100_000])
def test_the_number_of_frames_follows_from_the_number_of_samples(count):
    frames = max(0, 1 + (count - WINDOW) // HOP)
    assert log_mel(noise(count)).shape == (frames, BANDS)


def test_features_do_not_depend_on_a_dc_offset():
    samples = noise(4_000)
    np.testing.assert_allclose(log_mel(samples + 0.2), log_mel(samples), atol=2e-3)


def test_normalized_features_do_not_depend_on_gain_or_microphone():
    features, response = np.random.default_rng(0).uniform(-4, 4, (2, 50, BANDS))
    expected = normalized(features)
    np.testing.assert_allclose(expected.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(normalized(features + response[0] / 4), expected, atol=1e-12)
    assert normalized(features[:0]).shape == (0, BANDS)


@pytest.mark.parametrize("level", [-16, -5])
def test_long_pauses_do_not_change_normalized_features(level):
    """A pause is silence or noise, in a recording between digital silences."""
    sound = np.random.default_rng(0).uniform(-4, 4, (50, BANDS))
    found = []
    for frames in (100, 3_000):
        recording = np.pad(sound, ((frames, frames), (0, 0)), constant_values=level)
        recording = np.pad(recording, ((20, 20), (0, 0)), constant_values=-16)
        found.append(normalized(recording)[len(recording) // 2 - 25 :][:50])
    np.testing.assert_allclose(*found, atol=1e-12)


def test_features_are_those_of_a_discrete_fourier_transform():
    samples = noise(WINDOW + HOP)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    hertz = np.arange(257) * RATE / 512
    step = 2595 * math.log10(1 + RATE / 2 / 700) / (BANDS + 1)
    centers = 700 * (10 ** (step * np.arange(BANDS + 2) / 2595) - 1)
    for start, found in zip((0, HOP), log_mel(samples), strict=True):
        x = samples[start : start + WINDOW]
        x = (x - x.mean()) * hann
        waves = np.exp(-2j * np.pi * np.outer(hertz / RATE, np.arange(WINDOW)))
        power = np.abs(waves @ x) ** 2 / np.sum(hann**2)
        for band in range(BANDS):
            triangle = np.interp(hertz, centers[band : band + 3], [0, 1, 0])
            energy = power @ triangle / triangle.sum()
            assert found[band] == pytest.approx(math.log(energy + FLOOR), abs=1e-3)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_tone_is_loudest_in_the_band_of_its_frequency(rate):
    for hertz in (300, 1_000, 3_000):
        features = log_mel(sine(hertz, rate), rate)[5:-5]
        band = 2595 * math.log10(1 + hertz / 700) / (2595 * math.log10(1 + RATE / 2 / 700))
        assert np.all(abs(features.argmax(1) + 1 - band * (BANDS + 1)) <= 1)


def test_silence_has_the_logarithm_of_the_floor():
    np.testing.assert_allclose(log_mel(np.zeros(800, np.float32)), math.log(FLOOR), rtol=1e-6)
