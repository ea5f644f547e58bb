"""Recordings of digits from folders, archives and TFDS's download folder, and strings of them."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
from tone_recordings import write_recordings

from rnn_jax import InputError
from rnn_jax.datasets import spoken_digits
from rnn_jax.datasets.spoken_digits import (
    DOWNLOADS,
    SHA256,
    URL,
    Recordings,
    digit_strings,
    load_recordings,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("digits"), digits=(0, 3, 7), indices=range(7))


@pytest.fixture(scope="module")
def archive(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "recordings.tar.gz"
    with tarfile.open(path, "w:gz") as written:
        written.add(folder, "free-spoken-digit-dataset-1.0.9/recordings")
        written.addfile(tarfile.TarInfo("README.md"), io.BytesIO())
    return path


def same(one, other):
    assert len(one.samples) == len(other.samples)
    return all(map(np.array_equal, one.samples, other.samples))


def test_a_folder_gives_sorted_labeled_recordings(folder):
    found = load_recordings(folder)
    assert found.speakers.tolist() == ["high"] * 21 + ["low"] * 21
    assert found.digits.tolist() == np.repeat([0, 3, 7], 7).tolist() * 2
    assert found.indices.tolist() == list(range(7)) * 6
    assert all(1_200 <= len(samples) <= 2_400 for samples in found.samples)
    chosen = found.where((found.digits == 3) & (found.indices < 5))
    assert (
        len(chosen.samples) == 10
        and set(chosen.digits) == {3}
        and set(chosen.indices) < {*range(5)} | {5}
    )


def test_an_archive_and_a_folder_with_it_give_the_same(folder, archive):
    assert same(load_recordings(archive), load_recordings(folder))
    assert same(load_recordings(archive.parent), load_recordings(folder))


def test_the_download_is_the_one_that_tfds_has_registered():
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import resource

    ((url, registered),) = tfds.builder_cls("spoken_digit").url_infos.items()
    assert (url, registered.checksum) == (URL, SHA256)
    assert (resource.get_dl_fname(url, SHA256), f"manual/{registered.filename}") == DOWNLOADS


@pytest.fixture
def tfds_root(tmp_path, monkeypatch):
    """TFDS's data folder, where downloads of the archive of this test are valid."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_copy_in_the_folder_of_tfds_is_used(archive, folder, tfds_root, monkeypatch, name):
    content = archive.read_bytes()
    path = tfds_root / "downloads" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path.name} is damaged"):
        load_recordings()
    monkeypatch.setattr(spoken_digits, "SHA256", hashlib.sha256(content).hexdigest())
    assert same(load_recordings(), load_recordings(folder))


def test_a_missing_archive_is_downloaded_once_and_checked(archive, folder, tfds_root, monkeypatch):
    monkeypatch.setattr(spoken_digits, "is_reachable", lambda url: True)
    monkeypatch.setattr(spoken_digits, "URL", archive.as_uri())
    with pytest.raises(InputError, match="has changed: its SHA-256 is not"):
        load_recordings()
    assert [*tfds_root.rglob("*.tar.gz")] == []
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(spoken_digits, "SHA256", digest)
    assert same(load_recordings(), load_recordings(folder))
    monkeypatch.setattr(spoken_digits, "URL", "file:///nowhere")
    assert same(load_recordings(), load_recordings(folder))
    (tfds_root / "downloads" / DOWNLOADS[0]).unlink()
    with pytest.raises(InputError, match="nowhere cannot be downloaded"):
        load_recordings()


def test_without_data_and_network_the_error_names_both_ways(tfds_root, monkeypatch):
    monkeypatch.setattr(spoken_digits, "is_reachable", lambda url: False)
    with pytest.raises(InputError, match=r"pass a `data_dir` with .* or connect to the network"):
        load_recordings()


def test_what_is_no_set_of_recordings_is_one_sentence(tmp_path, folder):
    with pytest.raises(InputError, match=r"has no recordings; expected names such as 7_jackson"):
        load_recordings(tmp_path)
    with pytest.raises(InputError, match="there is no folder or archive"):
        load_recordings(tmp_path / "gone")
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises(InputError, match="cannot be read"):
        load_recordings(tmp_path / "text.txt")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "3_low_0.wav").write_bytes((folder / "3_low_0.wav").read_bytes())
    with pytest.raises(InputError, match=r"two recordings 3_low_0.wav"):
        load_recordings(tmp_path)
    (tmp_path / "b" / "3_low_0.wav").rename(tmp_path / "b" / "3_low_1.wav")
    (tmp_path / "a" / "3_low_0.wav").write_text("text")
    with pytest.raises(InputError, match=r"3_low_0.wav is not a WAV file"):
        load_recordings(tmp_path)


def test_a_string_joins_whole_recordings_of_one_speaker():
    samples = [np.full(100 + n, n + 1, np.float32) for n in range(20)]
    digits, speakers = np.arange(20) % 10, np.repeat(["low", "high"], 10)
    recordings = Recordings(samples, digits, speakers, np.zeros(20, int), "made by hand")
    sounds, labels = digit_strings(recordings, 0, 200, pauses=(0.05, 0.1))
    assert {len(string) for string in labels} == set(range(1, 8))
    for sound, string in zip(sounds, labels, strict=True):
        ends = np.flatnonzero(np.diff(sound, append=0, prepend=0))
        starts, stops = ends.reshape(-1, 2).T
        numbers = sound[starts].astype(int) - 1
        assert digits[numbers].tolist() == string.tolist()
        assert len(set(speakers[numbers])) == 1
        assert (stops - starts).tolist() == [len(samples[n]) for n in numbers]
        pauses = np.array([*starts, len(sound)]) - [0, *stops]
        assert pauses.min() >= 400 and pauses.max() <= 800
    again, _ = digit_strings(recordings, 0, 5, pauses=(0.05, 0.1))
    assert all(map(np.array_equal, again, sounds))
