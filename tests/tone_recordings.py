"""Small sets of recordings in which a tone stands for each digit, for tests and short runs."""

import sys
from pathlib import Path

import numpy as np
from scipy.io import wavfile

RATE = 8_000
TONES = 300 + 330 * np.arange(10)
"""Frequency of the tone that stands for each digit [Hz]."""
SPEAKERS = {"low": 0.98, "high": 1.02}
"""Factor of the frequencies of each speaker."""


def tone(digit, rate=RATE, factor=1.0, seconds=0.2):
    """A tone that begins and ends softly."""
    t = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.hanning(len(t)) * np.sin(2 * np.pi * factor * TONES[digit] * t)


def write_recordings(folder: Path, digits=range(10), indices=range(10)) -> Path:
    """Write a WAV file of each digit, speaker and index; lengths and levels differ."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for speaker, factor in SPEAKERS.items():
        for digit in digits:
            for index in indices:
                seconds, level = random.uniform(0.15, 0.3), random.uniform(8_000, 32_000)
                samples = np.int16(level * tone(digit, RATE, factor, seconds))
                wavfile.write(folder / f"{digit}_{speaker}_{index}.wav", RATE, samples)
    return folder


if __name__ == "__main__":
    write_recordings(Path(sys.argv[1]))
