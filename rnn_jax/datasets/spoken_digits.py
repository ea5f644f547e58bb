"""Recordings of spoken digits: the Free Spoken Digit Dataset, or files named like its own."""

import dataclasses
import hashlib
import os
import re
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from rnn_jax.datasets.log_mel import RATE, resampled
from rnn_jax.datasets.original_files import is_reachable
from rnn_jax.datasets.wav import read_wav
from rnn_jax.errors import InputError
from rnn_jax.files import local_path, replacing

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz"
"""Archive of `spoken_digit` 1.0.9 in TFDS, whose builder needs TensorFlow."""
SHA256 = "8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0"
"""The checksum that TFDS has registered for the archive."""
DOWNLOADS = (
    "Jako_free-spok-digi-data_arch_v1.0.9i8RM3hKdUFy7trNlwJ-AxmPyqndXivxjTmFBovhxAMA.tar.gz",
    "manual/free-spoken-digit-dataset-1.0.9.tar.gz",
)
"""File names of the archive in TFDS's download folder: downloaded by TFDS, and by hand."""
TEST_INDICES = 5
"""Recordings with a lower index are the official test set."""
_NAME = re.compile(r"\d_[^_]+_\d+\.wav")


@dataclasses.dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings of one digit each, sorted by speaker, digit and index.

    Attributes:
      samples: the samples of each recording at 8 kHz, float32 from -1 to 1.
      digits, speakers, indices: digit, name of the speaker, and number of each recording [N].
      source: a phrase that describes the origin of the recordings.
    """

    samples: list[np.ndarray]
    digits: Int[np.ndarray, " N"]
    speakers: np.ndarray
    indices: Int[np.ndarray, " N"]
    source: str

    def where(self, chosen: Bool[np.ndarray, " N"]) -> "Recordings":
        """The recordings that a mask [N] selects."""
        samples = [self.samples[n] for n in np.flatnonzero(chosen)]
        fields = self.digits[chosen], self.speakers[chosen], self.indices[chosen]
        return Recordings(samples, *fields, self.source)


def load_recordings(data_dir: str | Path | None = None) -> Recordings:
    """Load recordings with names `{digit}_{speaker}_{index}.wav`, of any sampling rate.

    Args:
      data_dir: a folder of recordings, a tar archive of them, or a folder with such an archive; by
        default, the archive of TFDS in $TFDS_DATA_DIR or ~/tensorflow_datasets, which is downloaded
        if missing.

    Raises:
      InputError: there are no recordings, one of them cannot be read, or a download is needed and
        the network is down.
    """
    path = _tfds_archive() if data_dir is None else local_path(data_dir)
    found = {}
    try:
        for name, file in _files(path):
            digit, speaker, index = name.removesuffix(".wav").split("_")
            key = speaker, int(digit), int(index)
            if key in found:
                raise InputError(f"{path} has two recordings {name}; remove one of them.")
            samples, rate = read_wav(file, name)
            found[key] = np.concatenate([*resampled([samples], rate)])
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"{path} cannot be read ({error}); pass another `data_dir`.") from error
    if not found:
        raise InputError(
            f"{path} has no recordings; expected names such as 7_jackson_32.wav: the digit, the "
            "speaker, and a number."
        )
    speakers, digits, indices = map(np.array, zip(*sorted(found), strict=True))
    return Recordings([found[key] for key in sorted(found)], digits, speakers, indices, str(path))


def digit_strings(
    recordings: Recordings,
    seed: int,
    count: int,
    *,
    longest: int = 7,
    pauses: tuple[float, float] = (0.05, 0.35),
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Join random recordings of one speaker into strings of 1 to `longest` digits.

    There is silence before, between and after the digits.

    Args:
      recordings: the recordings to choose from.
      seed: the seed of all choices.
      count: the number of strings.
      longest: the maximum number of digits in a string.
      pauses: the shortest and the longest pause [s].

    Returns:
      The samples of each string at 8 kHz, and its digits.
    """
    random = np.random.default_rng(seed)
    names = np.unique(recordings.speakers)
    places = {name: np.flatnonzero(recordings.speakers == name) for name in names}
    sounds, labels = [], []
    for _ in range(count):
        chosen = random.choice(places[random.choice(names)], random.integers(1, longest + 1))
        lengths = RATE * random.uniform(*pauses, len(chosen) + 1)
        parts = [np.zeros(int(lengths[0]), np.float32)]
        for n, length in zip(chosen, lengths[1:], strict=True):
            parts += [recordings.samples[n], np.zeros(int(length), np.float32)]
        sounds.append(np.concatenate(parts))
        labels.append(recordings.digits[chosen])
    return sounds, labels


def _files(path) -> Iterator:
    """Yield the name and the open file of each recording in a folder or an archive."""
    if not path.exists():
        raise InputError(f"there is no folder or archive {path}; pass another `data_dir`.")
    if path.is_file():
        with tarfile.open(path) as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if member.isfile() and _NAME.fullmatch(name):
                    yield name, archive.extractfile(member)
        return
    recordings = [each for each in sorted(path.rglob("*.wav")) if _NAME.fullmatch(each.name)]
    for each in recordings:
        with open(each, "rb") as file:
            yield each.name, file
    if not recordings:
        for each in sorted(path.glob("*.tar*")):
            yield from _files(each)


def _tfds_archive():
    """The path of the archive in TFDS's download folder, downloaded if necessary."""
    root = local_path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets") / "downloads"
    for name in DOWNLOADS:
        path = root / name
        if path.is_file():
            if hashlib.sha256(path.read_bytes()).hexdigest() == SHA256:
                return path
            raise InputError(f"{path} is damaged: its SHA-256 is not {SHA256}; delete it.")
    if not is_reachable(URL):
        raise InputError(
            f"the spoken digits are not in {root}, and github.com cannot be reached; pass a "
            "`data_dir` with recordings named {digit}_{speaker}_{index}.wav, or connect to the "
            "network once."
        )
    path = root / DOWNLOADS[0]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(URL, timeout=20) as answer, replacing(path) as temporary:
            content = answer.read()
            if hashlib.sha256(content).hexdigest() != SHA256:
                raise InputError(f"{URL} has changed: its SHA-256 is not {SHA256}.")
            temporary.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"{URL} cannot be downloaded to {root} ({error}); pass a `data_dir` with recordings "
            "named {digit}_{speaker}_{index}.wav."
        ) from error
    return path
