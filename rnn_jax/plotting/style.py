"""Shared style of all figures, and saving to disk, without pyplot."""

import functools
import io
import re
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font

from rnn_jax.files import replacing

INK, MUTED, LINE, SKY = "#1F2328", "#5F6770", "#D5DADF", "#8CCBF0"
COLORS = BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#C44E00", "#00795A", "#A8508A"
"""After Okabe and Ito: distinguishable by color-blind readers, dark enough for text on white."""

STYLE = {
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "image.aspect": "auto",
    "legend.edgecolor": "white",
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
    **dict.fromkeys(("text.color", "axes.labelcolor"), INK),
}
WIDTH, MARGIN, DPI = 8.0, 0.12, 150
_LOCK = threading.RLock()


CJK = re.compile(
    r"noto (sans|serif) (cjk|sc|tc|hk|jp|kr)|source han|wenquanyi|wqy|droid sans fallback|ar pl|"
    r"simhei|simsun|microsoft (yahei|jhenghei)|pingfang|heiti|songti|hiragino|arial unicode|"
    r"(ms|yu) (gothic|mincho)|ipa.*(gothic|mincho)|takao|vl gothic|unifont|malgun|nanum",
    re.IGNORECASE,
)
"""Font families with Chinese characters, which the default font lacks."""


@functools.cache
def font_with(characters: str) -> str | None:
    """Find an installed font family that has these Chinese characters, or None."""
    for entry in fontManager.ttflist:
        if CJK.search(entry.name):
            try:
                font = get_font(entry.fname)
            except (OSError, RuntimeError):  # Removed or replaced since the list was made.
                continue
            if all(font.get_char_index(ord(character)) for character in characters):
                return entry.name
    return None


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the defaults of matplotlib and then `STYLE`, in one thread at a time."""
    with _LOCK, matplotlib.style.context(["default", STYLE]):
        yield


def new_figure(height: float, title: str) -> Figure:
    """Create an empty figure, `WIDTH` by `height` [inches] plus a title, without pyplot.

    Create and fill it inside `house_style()`. `figure.subplots` uses the area below the title.
    """
    title = textwrap.fill(title, 70)
    whole = height + 0.32 + 0.22 * title.count("\n")
    figure = Figure(figsize=(WIDTH, whole))
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=MARGIN / WIDTH, y=1 - MARGIN / whole, ha="left", parse_math=False)
    bottom, top = 0.52, height - 0.4
    if bottom < top:  # A text-only figure can be shorter than axes with labels.
        figure.subplots_adjust(0.075, bottom / whole, 0.97, top / whole, wspace=0.22)
    return figure


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Label both axes, with a horizontal label above the y axis."""
    axes.set_xlabel(x)
    axes.set_ylabel(y, rotation=0, ha="left", va="bottom")
    axes.yaxis.set_label_coords(0, 1.04)


def save(figure: Figure, path: Path) -> None:
    """Save `figure` to `path` as a PNG at 150 dpi, atomically.

    Raises:
      OSError: the folder is missing or cannot be written; an existing file is kept.
    """
    png = io.BytesIO()
    with house_style():
        figure.savefig(png, format="png", dpi=DPI)
    with replacing(path) as temporary:
        temporary.write_bytes(png.getvalue())
