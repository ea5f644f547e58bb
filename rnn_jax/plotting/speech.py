"""Figures of recognized speech: a transcript over time, confusions, and errors by speaker."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from rnn_jax.plotting.style import BLUE, INK, MUTED, house_style, name_axes, new_figure
from rnn_jax.plotting.training import training_figure

MAP_COLORS = [f"C{n}" for n in range(10)]
"""The color of each digit; since ten colors are hard to distinguish, peaks are labeled."""


def transcript_figure(
    features: Float[np.ndarray, "T D"],
    probabilities: Float[np.ndarray, "S C"],
    text: str,
    truth: str,
    title: str,
    hop: float = 0.01,
) -> Figure:
    """Plot the features of an utterance, and the probabilities of blank and digits below.

    Args:
      features: log-mel features.
      probabilities: those of the blank (first) and of the digits at each step, which covers T // S
        frames.
      text, truth: the recognized and the true digits.
      title: the title.
      hop: time from one frame to the next [s].
    """
    seconds = len(features) * hop
    times = (np.arange(len(probabilities)) + 0.5) * (len(features) // len(probabilities)) * hop
    with house_style():
        figure = new_figure(4.6, title)
        top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.45})
        top.imshow(features.T, "Greys", origin="lower", extent=(0, seconds, 0, features.shape[1]))
        name_axes(top, "", "mel band, from low to high frequency")
        bottom.fill_between(times, probabilities[:, 0], color=MUTED, alpha=0.18, lw=0)
        best = probabilities.argmax(1)
        for digit, curve in enumerate(probabilities.T[1:]):
            color = MAP_COLORS[digit % len(MAP_COLORS)]
            bottom.plot(times, curve, color=color, lw=1.8)
            own = np.flatnonzero(best == digit + 1)
            for run in np.split(own, np.flatnonzero(np.diff(own) > 1) + 1):
                if len(run):
                    peak = run[curve[run].argmax()]
                    place = {"ha": "center", "va": "bottom", "weight": "bold", "size": 12}
                    bottom.text(times[peak], curve[peak] + 0.03, digit, color=color, **place)
        name_axes(bottom, "time [s]", f"probability; recognized {text or '-'}, true {truth}")
        bottom.set(ylim=(0, 1.25), xlim=(0, seconds), yticks=(0, 0.5, 1))
        note = {"color": MUTED, "size": 9, "ha": "right", "va": "top"}
        bottom.text(1, 1.13, "grey area: blank", transform=bottom.transAxes, **note)
    return figure


def confusion_figure(
    labels: Int[np.ndarray, " N"], predicted: Int[np.ndarray, " N"], title: str
) -> Figure:
    """Plot how many recordings of each digit are classified as each digit.

    Args:
      labels, predicted: digits, or -1 for none.
      title: the title.
    """
    counts = np.zeros((10, 10), int)
    known = predicted >= 0
    np.add.at(counts, (labels[known], predicted[known]), 1)
    with house_style():
        figure = new_figure(4.6, title)
        axes = figure.subplots()
        axes.set_aspect("equal")
        axes.imshow(counts, "Blues", aspect="equal")
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if count > counts.max() / 2 else INK
                place = {"ha": "center", "va": "center", "size": 9}
                axes.text(column, row, count, color=color, **place)
        axes.set(xticks=range(10), yticks=range(10))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        name_axes(axes, "classified as", "spoken digit; number of recordings")
    return figure


def speakers_figure(rates: Mapping[str, float], title: str) -> Figure:
    """Plot the digit error rate of each speaker as a bar.

    Args:
      rates: digit error rates by speaker, from 0 to 1.
      title: the title.
    """
    names: Sequence[str] = list(rates)
    values = 100 * np.array(list(rates.values()))
    with house_style():
        figure = new_figure(0.9 + 0.4 * len(names), title)
        axes = figure.subplots()
        figure.subplots_adjust(left=0.16)
        axes.barh(names, values, color=BLUE, height=0.6)
        for place, value in enumerate(values):
            axes.text(value, place, f"  {value:.1f} %", va="center")
        axes.set_xlim(0, max(1, 1.2 * values.max()))
        axes.invert_yaxis()
        axes.set_xlabel("digit error rate [%]")
    return figure


def figures(
    summary: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    test: tuple[np.ndarray, ...],
    logits: Float[np.ndarray, "N S C"],
    made: Sequence[Sequence[int]],
) -> dict[str, Figure]:
    """All figures of a run of `speech_digits.py`, by file name.

    Args:
      summary: the summary of the run.
      rows: its rows of metrics.
      test: features [N, T, D], lengths [N], padded labels [N, L] and their counts [N].
      logits: the scores of the test set.
      made: the recognized labels.
    """
    xs, lengths, labels, counts = test
    way = "one-way" if summary["one_way"] else "bidirectional"
    task = "single digits" if summary["single"] else "strings of digits"
    unheard = f", {summary['held_out']} never heard" if summary["held_out"] else ""
    title = f"{task.capitalize()}, {way} {summary['cell'].upper()}, seed {summary['seed']}{unheard}"
    found = {
        "training.png": training_figure(rows, title, summary["digit_error_rate"]),
        "speakers.png": speakers_figure(summary["speaker_error_rates"], title),
    }
    if summary["single"]:
        digits = np.array([label for (label,) in made]) - 1
        return found | {"confusion.png": confusion_figure(labels[:, 0] - 1, digits, title)}
    n = int(np.argmax(counts))
    steps, stride = lengths[n] // summary["stride"], summary["stride"]
    shown = np.exp(logits[n, :steps] - logits[n, :steps].max(-1, keepdims=True))
    shown /= shown.sum(-1, keepdims=True)
    text, truth = ("".join(str(k - 1) for k in each) for each in (made[n], labels[n, : counts[n]]))
    frames = xs[n, : steps * stride].astype(np.float32)
    return found | {"transcript.png": transcript_figure(frames, shown, text, truth, title)}
