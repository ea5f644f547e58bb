"""WAV files of every sample format are read in blocks; anything else is one sentence."""

import io
import struct
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from rnn_jax import InputError
from rnn_jax.datasets.wav import open_wav, read_wav

RATE = 8_000
SOUND = np.sin(np.arange(2_000) / 7)[:, None] * [0.9, 0.3]


def scipy_wav(samples, rate=RATE):
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def wave_wav(content, width, channels=2, rate=RATE):
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(width)
        written.setframerate(rate)
        written.writeframes(content)
    return file.getvalue()


def integers(bits):
    return np.round(SOUND * 2 ** (bits - 1)).astype(np.int64)


def int24():
    return integers(24).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def read(content):
    return read_wav(io.BytesIO(content), "x.wav")


FILES = {
    "8": wave_wav((integers(8) + 128).astype(np.uint8).tobytes(), 1),
    "16": wave_wav(integers(16).astype("<i2").tobytes(), 2),
    "24": wave_wav(int24(), 3),
    "32": wave_wav(integers(32).astype("<i4").tobytes(), 4),
    "float32": scipy_wav(SOUND.astype(np.float32)),
    "float64": scipy_wav(SOUND),
}


@pytest.mark.parametrize("kind", FILES)
def test_all_sample_formats_give_the_mean_of_the_channels(kind):
    samples, rate = read(FILES[kind])
    bits = 25 if kind.startswith("float") else int(kind)
    assert rate == RATE and samples.dtype == np.float32
    np.testing.assert_allclose(samples, SOUND.mean(1), atol=max(2.0 ** (1 - bits), 1e-7))


@pytest.mark.parametrize("kind", ["16", "24"])
def test_blocks_join_to_the_whole(kind, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(FILES[kind])
    with open_wav(path) as reader:
        blocks = list(reader.blocks(300))
    assert (reader.rate, reader.channels, reader.length) == (RATE, 2, 2_000)
    assert [len(block) for block in blocks] == [300] * 6 + [200]
    np.testing.assert_array_equal(np.concatenate(blocks), read(FILES[kind])[0])


def with_header(content, fmt, before=b"", data_size=None, after=b"", riff=b"RIFF"):
    size = len(content) if data_size is None else data_size
    body = before + b"fmt " + struct.pack("<I", len(fmt)) + fmt
    body += b"data" + struct.pack("<I", size) + content + after
    return riff + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


STEREO16 = struct.pack("<HHIIHH", 1, 2, RATE, 4 * RATE, 4, 16)
CONTENT = integers(16).astype("<i2").tobytes()
EXTENSIBLE = struct.pack("<HHIIHHHHIH14s", 0xFFFE, 2, RATE, 4 * RATE, 4, 16, 22, 16, 3, 1, b"")
CHUNK = b"LIST" + struct.pack("<I", 5) + b"INFO.\0"
DS64 = b"ds64" + struct.pack("<IQQQI", 28, 0, len(CONTENT), 0, 0)


@pytest.mark.parametrize(
    "content",
    [
        with_header(CONTENT, EXTENSIBLE),
        with_header(CONTENT, STEREO16, before=CHUNK, after=CHUNK),
        with_header(CONTENT, STEREO16, data_size=0xFFFFFFFF),
        with_header(CONTENT, STEREO16, data_size=0),
        with_header(CONTENT, STEREO16, DS64, 0xFFFFFFFF, after=CHUNK, riff=b"RF64"),
    ],
    ids=["extensible", "other chunks", "from a pipe", "unfinished", "RF64"],
)
def test_all_kinds_of_headers_are_read(content):
    np.testing.assert_array_equal(read(content)[0], read(FILES["16"])[0])


def test_a_truncated_file_gives_a_warning_and_the_samples_it_has():
    with pytest.warns(UserWarning, match=r"declares 0.25 s, and 0.12 s follow"):
        samples, _ = read(FILES["16"][: 44 + 4_001])
    np.testing.assert_array_equal(samples, read(FILES["16"])[0][:1_000])


def test_a_file_without_samples_gives_none():
    assert len(read(wave_wav(b"", 2))[0]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.wav is empty"),
        (b"ID3\3 and more bytes", "is not a WAV file: it starts with b'ID3"),
        (b"RIFX" + FILES["16"][4:], "starts with b'RIFX'"),
        (FILES["16"][:40], "its header ends before the samples"),
        (with_header(CONTENT, STEREO16[:12]), "its format chunk is too short"),
        (with_header(CONTENT, struct.pack("<HHIIHH", 17, 2, RATE, 1, 4, 4)), "compressed samples"),
        (with_header(CONTENT, struct.pack("<HHIIHH", 1, 2, RATE, 1, 16, 64)), "samples of 64 bits"),
        (with_header(CONTENT, struct.pack("<HHIIHH", 3, 2, RATE, 1, 4, 16)), "samples of 16 bits"),
        (with_header(CONTENT, struct.pack("<HHIIHH", 1, 0, RATE, 1, 4, 16)), "0 channels"),
        (with_header(CONTENT, struct.pack("<HHIIHH", 1, 2, RATE, 1, 3, 16)), "in 3 bytes"),
        (with_header(CONTENT, struct.pack("<HHIIHH", 1, 2, 2**31, 1, 4, 16)), "per second"),
        (with_header(CONTENT, struct.pack("<HHIIHH", 1, 2, 0, 1, 4, 16)), "0 samples per second"),
        (scipy_wav(np.array([0, np.nan], np.float32)), "NaN or infinite"),
    ],
)
def test_anything_else_is_one_sentence(content, message):
    with pytest.raises(InputError, match=message):
        read(content)


def test_a_missing_file_and_a_folder_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="there is no file"), open_wav(tmp_path / "gone.wav"):
        pass
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"), open_wav(tmp_path):
        pass
