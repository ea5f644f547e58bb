"""Images of digits of any size and color become images like MNIST's."""

import gzip

import numpy as np
import photographs
import pytest
from pictures import TEST_IMAGES, saved, stroke
from PIL import Image

from rnn_jax import InputError
from rnn_jax.datasets.digit_photos import read_images, unusual_ink
from rnn_jax.datasets.idx import read_idx


def test_an_image_like_mnists_is_unchanged(tmp_path):
    picture = stroke()
    np.testing.assert_array_equal(read_images(saved(tmp_path / "a.png", picture)), picture[None])


def test_dark_on_light_is_the_same_as_light_on_dark(tmp_path):
    light, dark = (
        read_images(saved(tmp_path / f"{name}.png", picture))
        for name, picture in {"light": stroke(), "dark": 255 - stroke()}.items()
    )
    np.testing.assert_array_equal(light, dark)


@pytest.mark.parametrize("shift", [(0, 0), (-20, 25)])
def test_any_size_is_scaled_into_the_box_and_centered_by_mass(tmp_path, shift):
    picture = np.roll(stroke(140), shift, (0, 1))
    (found,) = read_images(saved(tmp_path / "large.png", picture))
    ink = np.argwhere(found)
    assert (np.ptp(ink, axis=0) + 1).max() == 20
    center = (found[..., None] * np.indices((28, 28)).transpose(1, 2, 0)).sum((0, 1)) / found.sum()
    np.testing.assert_allclose(center, 14, atol=0.51)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1"])
def test_color_is_converted_to_gray(tmp_path, mode):
    path = tmp_path / "color.png"
    Image.fromarray(stroke()).convert(mode).save(path)
    np.testing.assert_array_equal(read_images(path)[0], stroke())


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(stroke().astype(np.uint16) * 257).save(path)
    np.testing.assert_array_equal(read_images(path)[0], stroke())


def test_transparent_pixels_count_as_paper(tmp_path):
    path = tmp_path / "ink.png"
    ink = Image.new("RGBA", (28, 28))
    ink.putalpha(Image.fromarray(stroke()))
    ink.save(path)
    np.testing.assert_array_equal(read_images(path)[0], stroke())


def noise(*shape):
    return np.random.default_rng(0).normal(200, 4, shape).round().astype(np.uint8)


BLANK = {
    "white": np.full((50, 40), 255, np.uint8),
    "black": np.zeros((28, 28), np.uint8),
    "noise": noise(300, 400),
    "light": np.linspace(240, 120, 300 * 400).reshape(300, 400).astype(np.uint8),
    "a dark strip": np.pad(noise(280, 400), ((20, 0), (0, 0)), constant_values=30),
    "a frame": np.pad(noise(280, 380), 10, constant_values=30),
    "dust": np.where(np.arange(400 * 300).reshape(400, 300) == 60150, 0, noise(400, 300)),
    "one pixel": np.full((1, 1), 7, np.uint8),
    "one row": noise(1, 5000),
    "color": np.tile(np.uint8([240, 220, 120]), (60, 50, 1)),
}


@pytest.mark.parametrize("picture", BLANK.values(), ids=BLANK)
def test_a_blank_image_gives_an_error(tmp_path, picture):
    with pytest.raises(InputError, match=r"no digit found in .*blank\.png"):
        read_images(saved(tmp_path / "blank.png", picture))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_all_images_of_an_idx_file_are_read(tmp_path, pack):
    pictures = np.stack([stroke(), stroke().T])
    header = bytes([0, 0, 8, 3]) + np.array(pictures.shape, ">u4").tobytes()
    path = tmp_path / "some-idx3-ubyte"
    path.write_bytes(pack(header + pictures.tobytes()))
    np.testing.assert_array_equal(read_images(path), pictures)


def test_images_of_mnist_are_unchanged(tmp_path):
    path = tmp_path / "a.png"
    for image in read_idx(TEST_IMAGES)[:50]:
        np.testing.assert_array_equal(read_images(saved(path, image))[0], image)
    np.testing.assert_array_equal(read_images(TEST_IMAGES), read_idx(TEST_IMAGES))


@pytest.mark.parametrize("condition", photographs.CONDITIONS)
def test_a_photograph_of_a_digit_becomes_the_digit(tmp_path, condition):
    """Correlation with the original: 1 for the same image, about 0.3 for another digit."""
    random = np.random.default_rng(0)
    found = [
        np.corrcoef(
            image.ravel(),
            read_images(
                photographs.CONDITIONS[condition](image, random, tmp_path / "photograph")
            ).ravel(),
        )[0, 1]
        for image in read_idx(TEST_IMAGES)[[1, 3, 9]]
    ]
    assert min(found) > (0.5 if "thin" in condition else 0.85)


def test_light_ink_on_transparency_is_found(tmp_path):
    path = tmp_path / "ink.png"
    ink = Image.new("RGBA", (140, 140), (255, 255, 255, 0))
    ink.putalpha(Image.fromarray(stroke(140)))
    ink.save(path)
    light = read_images(path)
    np.testing.assert_array_equal(light, read_images(saved(path, stroke(140))))


def test_an_unusual_amount_of_ink_is_described(tmp_path):
    assert unusual_ink(stroke()) is None
    assert "0% of the image is ink" in unusual_ink(np.zeros((28, 28), np.uint8))
    assert "100% of the image is ink" in unusual_ink(np.full((28, 28), 255, np.uint8))
