"""Image files of every format are decoded within limits; other files give one clear error."""

import gzip
import os
import struct
import zlib

import numpy as np
import pytest
from pictures import saved, stroke
from PIL import Image

from rnn_jax import InputError
from rnn_jax.datasets.digit_photos import read_images


def idx(shape, content, kind=8):
    sizes = np.array(shape, ">u4").tobytes()
    return bytes([0, 0, kind, len(shape)]) + sizes + content


@pytest.mark.parametrize("name", ["a.idx3-ubyte", "a.idx", "A.IDX", "a.gz", "a.png", "a"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_is_recognized_by_its_first_bytes(tmp_path, name, pack):
    path = tmp_path / name
    path.write_bytes(pack(idx((1, 28, 28), stroke().tobytes())))
    np.testing.assert_array_equal(read_images(path)[0], stroke())


@pytest.mark.parametrize("mode", ["P", "LA", "CMYK", "LAB", "YCbCr", "I", "F", "I;16", "HSV"])
def test_every_pillow_mode_is_decoded(tmp_path, mode):
    path, picture = tmp_path / "picture.tif", Image.fromarray(255 - stroke(140))
    if mode == "LAB":
        bands = [picture, *2 * [Image.new("L", picture.size, 128)]]
        picture = Image.merge("LAB", bands)
    elif mode == "HSV":
        picture, path = picture.convert("RGB"), tmp_path / "picture.webp"
    else:
        picture = picture.convert("RGB").convert(mode) if mode == "YCbCr" else picture.convert(mode)
    picture.save(path)
    (found,) = read_images(path)
    (expected,) = read_images(saved(tmp_path / "gray.png", stroke(140)))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_the_first_of_several_frames_is_decoded(tmp_path):
    frames = [Image.fromarray(stroke(60)), Image.new("L", (60, 60))]
    for name in ("a.gif", "a.tif", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert read_images(tmp_path / name).max() == 255


def png_of(width, height, bits=1):
    """A PNG file that declares a size but contains few of its pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    packed = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + packed


def broken_chunk(path):
    saved(path, stroke())
    content = bytearray(path.read_bytes())
    content[37:41] = b"!!!!"
    path.write_bytes(content)


def cut_jpeg(path):
    Image.fromarray(stroke(200)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-300])


def write(content):
    return lambda path: path.write_bytes(content)


BAD = {
    "absent": (lambda path: None, "there is no file"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "a pipe": (lambda path: os.mkfifo(path), "not a regular file"),
    "text": (write(b"not an image"), "not an image in a supported format"),
    "nothing": (write(b""), "not an image in a supported format"),
    "a zip": (write(b"PK\3\4" + bytes(40)), "not an image in a supported format"),
    "a PDF": (write(b"%PDF-1.7"), "not an image in a supported format"),
    "PostScript": (write(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image in"),
    "HEIC": (write(b"\0\0\0\x18ftypheic" + bytes(40)), "not an image in a supported format"),
    "gzipped text": (write(gzip.compress(b"not an image")), "not an image in a supported format"),
    "cut gzip": (write(gzip.compress(idx((2, 28, 28), bytes(1568)))[:20]), "is|cannot"),
    "cut JPEG": (cut_jpeg, "is damaged and cannot be decoded"),
    "broken chunk": (broken_chunk, "is damaged|not an image in a supported format"),
    "200 megapixels": (
        write(png_of(20_000, 10_000)),
        "too many pixels; at most 67,108,864",
    ),
    "100 megapixels": (write(png_of(10_000, 10_000)), "has 10000 x 10000 pixels; at most 67,108"),
    "IDX without images": (write(idx((0, 0, 0), b"")), r"got shape \[0, 0, 0\]"),
    "IDX labels": (
        write(idx((2,), b"72")),
        r"must contain images \[N, rows, columns\], got shape \[2",
    ),
    "cut IDX": (write(idx((2, 28, 28), bytes(99))), "declares 1,568 bytes .* but 99 follow"),
    "longer IDX": (write(idx((1, 2, 2), bytes(5))), "declares 4 bytes .* but more follow"),
    "cut IDX header": (write(idx((1, 2, 2), b"")[:9]), "truncated within its IDX header"),
    "IDX of floats": (write(idx((1, 2, 2), bytes(16), 13)), "must hold bytes .uint8., got float32"),
    "huge IDX": (write(idx((2**31, 2**31, 2**31), b"")), "at most 1,073,741,824 are supported"),
    "bomb": (write(gzip.compress(idx((2, 28, 28), bytes(2**24)))), "but more follow"),
}


@pytest.mark.parametrize("make, message", BAD.values(), ids=BAD)
def test_an_unreadable_file_gives_one_sentence_with_its_path(tmp_path, make, message):
    path = tmp_path / "picture.png"
    make(path)
    with pytest.raises(InputError, match=message) as error:
        read_images(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
