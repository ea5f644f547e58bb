"""Figures of input, target and output signals."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rnn_jax.plotting.style import BLUE, MUTED, VERMILLION, house_style, name_axes, new_figure

WINDOWS = 8
"""Number of windows shown."""


def signals_figure(
    inputs: ArrayLike, targets: ArrayLike, first: int, window: int, outputs: ArrayLike, title: str
) -> Figure:
    """Plot input, target and output of the first two streams [B, T] over time.

    The figure shows `WINDOWS` windows of `window` steps, starting at step `first`. Outputs may be
    given for only the first streams.
    """
    inputs, targets, outputs = map(np.asarray, (inputs, targets, outputs))
    steps = np.arange(first, min(first + WINDOWS * window, targets.shape[1]))
    looks = (
        (inputs, {"color": MUTED, "lw": 1, "ls": (0, (4, 2)), "label": "input"}),
        (targets, {"color": BLUE, "lw": 3, "label": "target"}),
        (outputs, {"color": VERMILLION, "lw": 1.2, "label": "output"}),
    )
    with house_style():
        figure = new_figure(4.6, title)
        panels = figure.subplots(min(2, len(outputs)), 1, sharex=True, squeeze=False)[:, 0]
        for number, axes in enumerate(panels):
            for signals, look in looks:
                axes.plot(steps, signals[number, steps], **look)
            axes.set_xticks(steps[::window])
            axes.grid(axis="x")
            name_axes(axes, "", f"stream {number + 1}")
        axes.set_xlabel("held-out time step; vertical lines separate the windows")
        panels[0].legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure
