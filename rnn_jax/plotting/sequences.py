"""Figure of classified sequences, and a table of accuracies."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from rnn_jax.plotting.style import BLUE, VERMILLION, house_style, new_figure
from rnn_jax.plotting.tables import markdown

MOST_CLASSES, SHOWN, COLUMNS = 12, 12, 4
"""Maximum number of classes and of sequences per class that are shown, and panels per row."""

PUBLISHED = {
    "mnist1d": "GRU 91%, CNN 94%, human 96%",
    "JapaneseVowels": "TWIESN 96.5%, MLP 97.6%, FCN 99.3%",
    "GunPoint": "TWIESN 96.1%, MLP 92.7%, FCN 100.0%",
    "ItalyPowerDemand": "TWIESN 88.0%, MLP 95.4%, FCN 96.1%",
}
"""Test accuracies published by others. MNIST-1D: Greydanus, Kobak (2020), with a bidirectional GRU
of 6 units in each direction; the others: Ismail Fawaz et al. (2019), "Deep learning for time series
classification: a review", means of ten runs. TWIESN is an echo state network."""


def summary(rows: Sequence[Mapping]) -> list[str]:
    """Format a Markdown table of summaries, with a row for each data set, cell and readout.

    Args:
      rows: summaries of `sequence_classification.py`, with any number of seeds.
    """
    groups, lines = {}, []
    for row in rows:
        groups.setdefault((row["dataset"], row["cell"], row["readout"]), []).append(row)
    for names, found in groups.items():
        accuracies = [row["test_accuracy"] for row in found]
        accuracy = f"{statistics.mean(accuracies):.1%}"
        if len(found) > 1:
            accuracy += f" ± {statistics.stdev(accuracies):.1%}"
        seeds = " ".join(str(row["seed"]) for row in found)
        lines.append([*names, seeds, accuracy, PUBLISHED.get(names[0], "-")])
    columns = "data set", "cell", "readout", "seeds", "accuracy", "published"
    return markdown(columns, lines)


def classes_figure(
    xs: Float[np.ndarray, "N T D"],
    lengths: Int[np.ndarray, " N"],
    labels: Int[np.ndarray, " N"],
    predicted: Int[np.ndarray, " N"],
    classes: Sequence[str],
    title: str,
) -> Figure:
    """Plot the first feature of the first sequences of each class, wrong predictions on top.

    Args:
      xs: sequences.
      lengths: their numbers of valid steps.
      labels, predicted: their classes.
      classes: the names of the classes.
      title: the title.
    """
    shown = classes[:MOST_CLASSES]
    rows = -(-len(shown) // COLUMNS)
    with house_style():
        figure = new_figure(0.6 + 1.5 * rows, title)
        grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
        figure.subplots_adjust(hspace=0.5)
        for number, (axes, name) in enumerate(zip(grid, shown, strict=False)):
            own = np.flatnonzero(labels == number)
            right = predicted[own] == number
            for correct, color in ((True, BLUE), (False, VERMILLION)):
                for n in own[:SHOWN][right[:SHOWN] == correct]:
                    steps, values = np.arange(int(lengths[n])), xs[n, : lengths[n], 0]
                    axes.plot(steps, values, color=color, lw=0.8, alpha=0.6)
            axes.set_title(f"{name}: {right.sum()} of {len(own)}", size=9, loc="left")
        for axes in grid[len(shown) :]:
            axes.axis("off")
        figure.supxlabel("time step; correct in blue, wrong in vermillion", size=9)
    return figure
