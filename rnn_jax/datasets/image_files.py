"""Image files: supported formats, size limits, decoding."""

import contextlib
import stat
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from rnn_jax.errors import InputError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
"""Formats that Pillow may open. Some others, such as EPS, start external programs."""
EXPECTED = "PNG, JPEG, GIF, BMP, TIFF, WebP or IDX"
MAX_PIXELS = 2**26
"""Maximum number of pixels to decode. A JPEG file is first reduced to a fraction of its size."""
WORKING_SIDE = 1024
"""Longest side of a decoded image [pixels]; larger images are averaged over blocks of pixels."""


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a regular file that can be read."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; give {EXPECTED} files.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}.") from error
    kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
    raise InputError(f"{path} is {kind}; give {EXPECTED} files.")


def decode(path: Path) -> Float[np.ndarray, "H W C"]:
    """Decode an image file to gray (C = 1) or color (C = 3) values in [0, 1].

    EXIF orientation is applied, transparency is flattened, and large images are reduced (see
    `WORKING_SIDE`). If there are several frames, the first is decoded.

    Raises:
      InputError: the file has an unsupported format or too many pixels, or is damaged.
    """
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            # Pillow warns about recoverable defects and about large sizes, which are checked below.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                image.draft(None, (WORKING_SIDE, WORKING_SIDE))
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise InputError(
                        f"{path} has {width} x {height} pixels; at most {MAX_PIXELS:,} are "
                        "supported, so scale it down."
                    )
                return _to_array(image)
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(
            f"{path} is not an image in a supported format; give {EXPECTED} files."
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} has too many pixels; at most {MAX_PIXELS:,} are supported, so scale it down."
        ) from error
    # Pillow can raise almost any exception on damaged files.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path} is damaged and cannot be decoded: {reason}.") from error


def _to_array(image):
    image.load()
    mode = image.mode
    if mode == "LAB":  # Pillow needs color profiles to convert it; the first band is lightness.
        image = image.getchannel(0)
    elif mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
        image = Image.fromarray(values / _white(values))
    elif image.has_transparency_data:
        image = _opaque(image.convert("RGBA"))
    elif mode != "L":
        image = image.convert("L" if mode == "1" else "RGB")
    # The image can be intact although its EXIF block is damaged.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    image = image.reduce(max(1, -(-max(image.size) // WORKING_SIDE)))
    values = np.asarray(image, np.float32)
    values = values if image.mode == "F" else values / 255
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    return values if values.ndim == 3 else values[..., None]


def _white(values):
    """Guess the white level of a 16-bit or 32-bit image from its maximum."""
    return next((white for white in (1, 255, 4095, 65535) if values.max() <= white), values.max())


def _opaque(image):
    """Flatten transparency onto white, or onto black if everything visible is light."""
    pixels = np.asarray(image.reduce(max(1, max(image.size) // 256)), np.float32)
    weights = pixels[..., 3] / 255
    gray = pixels[..., :3].mean(-1)
    mean = (weights * gray).sum() / max(weights.sum(), 1e-6)
    spread = (weights * np.abs(gray - mean)).sum() / max(weights.sum(), 1e-6)
    ground = "black" if mean > 160 and spread < 40 else "white"
    background = Image.new("RGBA", image.size, ground)
    return Image.alpha_composite(background, image).convert("RGB")
