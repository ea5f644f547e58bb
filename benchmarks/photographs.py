"""Accuracy of a trained run on photographs of digits, with uneven light and colored paper."""

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tyro.conf import Positional

from rnn_jax.errors import InputError
from rnn_jax.files import local_path
from rnn_jax.plotting.tables import markdown
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Count, Natural, check_ranges
from rnn_jax.training.runs.jsonl import append_rows, read_rows
from rnn_jax.training.runs.provenance import provenance

ROWS = "rows.jsonl"
BUNDLED = Path(__file__).parent.parent / "experiments" / "mnist_files"
PAGE = 480, 360
COLORS = (
    ((250, 240, 150), (20, 60, 200)),
    ((180, 220, 255), (200, 30, 40)),
    ((255, 200, 200), (30, 120, 40)),
    ((60, 60, 180), (240, 240, 90)),
)
"""Colors of paper and ink."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Synthesize photographs of MNIST test digits, classify them, and measure the accuracy.

    Each condition uses the same digits, enlarged and placed at random on a page, with camera noise.
    The photographs are saved as files and read as in `predict.py`.
    """

    run_dir: Positional[Path] = Path("runs/mnist_lstm")
    """Folder of a run of mnist_lstm.py."""
    digits: Count = 200
    """Number of test digits for each condition."""
    conditions: tuple[str, ...] = ()
    """Conditions to measure; all by default."""
    seed: Natural = 0
    """Seed for the choice of digits, their positions and the noise."""
    replot: bool = False
    """Only print the table of the rows in --out-dir."""
    out_dir: Path = Path("runs/photographs")
    """Folder for results; an earlier run in it is renamed."""


def main(config: Config) -> None:
    """Measure, write a row for each condition and print the table."""
    check_ranges(config)
    path = local_path(config.out_dir) / ROWS
    if not config.replot:
        _measure(config, path)
    print("\n".join(summary(read_rows(path))))


def summary(rows: Sequence[Mapping]) -> list[str]:
    """Lines of a Markdown table with a row for each condition."""
    table = [
        (row["condition"], f"{row['accuracy']:.1%}", row["no_digit"], f"{row['read_ms']:.0f}")
        for row in rows
    ]
    columns = ("condition", "right", "no digit found", "ms per picture")
    return markdown(columns, table, right=True)


def _measure(config, path):
    from rnn_jax import load_image_classifier
    from rnn_jax.datasets.idx import read_idx
    from rnn_jax.training.runs.run_dir import exclusive

    unknown = set(config.conditions) - set(CONDITIONS)
    if unknown:
        known = ", ".join(CONDITIONS)
        raise InputError(f"--conditions must be among {known}; got {min(unknown)}.")
    classify, settings = load_image_classifier(config.run_dir)
    images, labels = (
        read_idx(next(BUNDLED.glob(f"t10k-{kind}*"))) for kind in ("images", "labels")
    )
    chosen = np.random.default_rng(config.seed).choice(len(images), config.digits, replace=False)
    images, labels = images[chosen], labels[chosen]
    shared = {name: settings.get(name) for name in ("cell", "hidden_size", "examples", "seed")}
    shared = {f"run_{name}": value for name, value in shared.items()} | provenance()
    with exclusive(path.parent) as out:
        out.move_aside()
        out.write("config.json", dataclasses.asdict(config))
        for name in config.conditions or CONDITIONS:
            found, missed, milliseconds = _read_all(name, images, config.seed)
            right = int((classify(found).argmax(-1) == labels).sum()) if len(found) else 0
            row = {"condition": name, "digits": len(images), "right": right, "no_digit": missed}
            row |= {"accuracy": right / len(images), "read_ms": milliseconds}
            append_rows(path, [row | shared])


def _read_all(name, images, seed):
    """Images read from the photographs (blank if no digit is found), failures and milliseconds."""
    from rnn_jax.datasets.digit_photos import read_images

    random, seconds, missed = np.random.default_rng(seed), 0.0, 0
    found = np.zeros_like(images)
    with tempfile.TemporaryDirectory() as folder:
        for k, image in enumerate(images):
            path = CONDITIONS[name](image, random, Path(folder) / "photograph")
            start = time.perf_counter()
            try:
                (found[k],) = read_images(path)
            except InputError:
                missed += 1
            seconds += time.perf_counter() - start
    return found, missed, 1e3 * seconds / len(images)


def place(image, random, page=PAGE, size=None):
    """Ink coverage, 0 to 1, of a page with an enlarged digit at a random position."""
    size = size or int(min(page) * random.uniform(0.5, 0.9))
    top, left = (random.integers(0, side - size + 1) for side in page)
    coverage = np.zeros(page)
    enlarged = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    coverage[top : top + size, left : left + size] = np.asarray(enlarged) / 255
    return coverage


def thin_pen(image, side=3000, pen=6):
    """Ink coverage of a large page with the skeleton of a digit, drawn with a thin pen."""
    enlarged = Image.fromarray(image).resize((112, 112), Image.Resampling.BICUBIC)
    points = {tuple(point) for point in np.argwhere(skeleton(np.asarray(enlarged) > 127))}
    page = Image.new("L", (side, side))
    draw, scale, margin = ImageDraw.Draw(page), side / 140, side / 10
    for row, column in points:
        for other in ((row, column + 1), *((row + 1, column + step) for step in (-1, 0, 1))):
            if other in points:
                ends = [margin + scale * x for x in (column, row, other[1], other[0])]
                draw.line(ends, fill=255, width=pen)
    return np.asarray(page) / 255


def skeleton(mask):
    """Thin a mask to lines one pixel wide.

    Reference: Zhang, Suen, "A Fast Parallel Algorithm for Thinning Digital Patterns", 1984.
    """
    mask, changed = mask.astype(int), True
    ring = [(0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0)]
    while changed:
        changed = False
        for first, second in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
            padded = np.pad(mask, 1)
            near = np.stack([padded[y:, x:][: len(mask), : mask.shape[1]] for y, x in ring])
            rises = ((near == 0) & (np.roll(near, -1, 0) == 1)).sum(0)
            removed = (mask == 1) & (rises == 1) & (near.sum(0) >= 2) & (near.sum(0) <= 6)
            for three in (first, second):
                removed &= near[list(three)].prod(0) == 0
            mask[removed] = 0
            changed |= bool(removed.any())
    return mask.astype(bool)


def paint(coverage, paper, ink, random, noise=2.0):
    """Gray or color values of a page, with noise."""
    paper, ink = np.asarray(paper, float), np.asarray(ink, float)
    coverage = coverage[..., None] if paper.ndim == 1 else coverage
    values = paper + (ink - paper) * coverage
    return np.clip(values + noise * random.standard_normal(values.shape), 0, 255).round()


def light(random, bright, dark, angle=None, shape=PAGE):
    """Brightness that changes linearly from one value to another across the page."""
    angle = random.uniform(0, 2 * np.pi) if angle is None else angle
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    slope = np.cos(angle) * x + np.sin(angle) * y
    return np.interp(slope, (slope.min(), slope.max()), (bright, dark))


def shadow(random):
    """White paper, partly in the soft shadow of a straight edge."""
    return 230 - 90 / (1 + np.exp(-20 * light(random, -1, 1)))


def edge_strip(page, random):
    """Add a dark strip at one edge, like a table under the paper."""
    page = np.pad(page, 30, mode="edge")
    np.rot90(page, random.integers(4))[: random.integers(10, 30)] = 30
    return page


def _png(path, values):
    path = path.with_suffix(".png")
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def _jpeg(path, values, quality=85, orientation=1):
    path, exif = path.with_suffix(".jpg"), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values.astype(np.uint8)).save(path, quality=quality, exif=exif)
    return path


def _turned(path, values, random):
    """Save a rotated or mirrored image with the EXIF orientation that undoes it."""
    orientation = int(random.integers(1, 9))
    if orientation in (2, 4, 5, 7):
        values = values[:, ::-1]
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}[orientation]
    return _jpeg(path, np.rot90(values, turns), orientation=orientation)


CONDITIONS = {
    "MNIST itself": lambda x, r, path: _png(path, x),
    "white paper": lambda x, r, path: _png(path, paint(place(x, r), 255, 0, r, 0)),
    "paper 215, pen 40": lambda x, r, path: _png(path, paint(place(x, r), 215, 40, r)),
    "paper 200, pen 40": lambda x, r, path: _png(path, paint(place(x, r), 200, 40, r)),
    "paper 210, pencil 165": lambda x, r, path: _png(path, paint(place(x, r), 210, 165, r)),
    "light 240 to 190": lambda x, r, path: _jpeg(
        path, paint(place(x, r), light(r, 240, 190, 0), 40, r)
    ),
    "light 250 to 120, any way": lambda x, r, path: _jpeg(
        path, paint(place(x, r), page := light(r, 250, 120), 0.2 * page, r)
    ),
    "shadow across the page": lambda x, r, path: _jpeg(
        path, paint(place(x, r), page := shadow(r), 0.2 * page, r)
    ),
    "light on dark": lambda x, r, path: _jpeg(path, paint(place(x, r), light(r, 80, 30), 215, r)),
    "EXIF orientation 1 to 8": lambda x, r, path: _turned(path, paint(place(x, r), 215, 40, r), r),
    "dark strip at an edge": lambda x, r, path: _jpeg(
        path, edge_strip(paint(place(x, r), 215, 40, r), r)
    ),
    "thin pen, 3000 pixels": lambda x, r, path: _jpeg(path, paint(thin_pen(x), 230, 60, r)),
    "colored ink and paper": lambda x, r, path: _jpeg(
        path, paint(place(x, r), *COLORS[r.integers(len(COLORS))], r)
    ),
    "noise, JPEG quality 20": lambda x, r, path: _jpeg(path, paint(place(x, r), 200, 60, r, 8), 20),
    "28 x 28 on gray": lambda x, r, path: _png(path, paint(x / 255, 200, 40, r)),
    "small on a large page": lambda x, r, path: _jpeg(
        path, paint(place(x, r, (1600, 1200), 180), 215, 40, r)
    ),
}


if __name__ == "__main__":
    run(main, Config)
