"""Image files decoded: which formats are read, how large they may be, and upright."""

import contextlib
import stat
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from rnn_jax.errors import InputError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
"""What Pillow may open. Others, such as EPS, start other programs."""
EXPECTED = "PNG, JPEG, GIF, BMP, TIFF, WebP or IDX"
MAX_PIXELS = 2**26
"""Most pixels that are decoded. A JPEG file is decoded at a fraction of its size."""
WORKING_SIDE = 1024
"""Longest side that pictures are reduced to, by averaging whole blocks of pixels."""


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
    kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
    raise InputError(f"{path} is {kind}; give {EXPECTED} files.")


def decode(path: Path) -> Float[np.ndarray, "H W C"]:
    """Return the picture in a file, upright, opaque and reduced: gray (C = 1) or color (C = 3).

    Values lie in [0, 1]. EXIF orientation is applied. Of several frames the first is read.

    Raises:
      InputError: the file has another format, too many pixels, or is damaged.
    """
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            # Pillow warns of oddities that it can cope with, and of sizes, which are checked here.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                image.draft(None, (WORKING_SIDE, WORKING_SIDE))
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise InputError(
                        f"{path} has {width} x {height} pixels; at most {MAX_PIXELS:,} are read, "
                        "so scale it down."
                    )
                return _to_array(image)
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(
            f"{path} is no picture in a format that can be read; give {EXPECTED} files."
        ) from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} has too many pixels; at most {MAX_PIXELS:,} are read, so scale it down."
        ) from error
    # For damaged files, Pillow raises almost any exception.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path} is damaged and cannot be decoded: {reason}.") from error


def _to_array(image):
    image.load()
    mode = image.mode
    if mode == "LAB":  # Pillow converts it only with color profiles; lightness is its first band.
        image = image.getchannel(0)
    elif mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
        image = Image.fromarray(values / _white(values))
    elif image.has_transparency_data:
        image = _opaque(image.convert("RGBA"))
    elif mode != "L":
        image = image.convert("L" if mode == "1" else "RGB")
    # A broken EXIF block says nothing about the picture itself.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    image = image.reduce(max(1, -(-max(image.size) // WORKING_SIDE)))
    values = np.asarray(image, np.float32)
    values = values if image.mode == "F" else values / 255
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    return values if values.ndim == 3 else values[..., None]


def _white(values):
    """Return what counts as white in a picture of 16-bit or 32-bit numbers, by their largest."""
    return next((white for white in (1, 255, 4095, 65535) if values.max() <= white), values.max())


def _opaque(image):
    """Put a picture on white, or on black where all that is visible is light."""
    pixels = np.asarray(image.reduce(max(1, max(image.size) // 256)), np.float32)
    weights = pixels[..., 3] / 255
    gray = pixels[..., :3].mean(-1)
    mean = (weights * gray).sum() / max(weights.sum(), 1e-6)
    spread = (weights * np.abs(gray - mean)).sum() / max(weights.sum(), 1e-6)
    ground = "black" if mean > 160 and spread < 40 else "white"
    background = Image.new("RGBA", image.size, ground)
    return Image.alpha_composite(background, image).convert("RGB")
