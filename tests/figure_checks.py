"""Synthetic rows, digits and gates, and a check for cut or overlapping text in a figure."""

import numpy as np

from rnn_jax.plotting import style, training


def fake_rows(count):
    rng = np.random.default_rng(0)
    return [
        {
            "step": 20 * k,
            "examples": 2560 * k,
            "loss": 2.3 * 0.9**k * rng.uniform(0.8, 1.2),
            "batch_accuracy": 1 - 0.9 ** (k + 1),
            "grad_norm": 1.0,
            "learning_rate": 1e-3,
            "examples_per_second": 5000.0,
        }
        for k in range(1, count + 1)
    ]


def fake_digits(count, mistakes):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    said = labels.copy()
    said[:mistakes] = (labels[:mistakes] + 1) % 10
    probabilities = np.full((count, 10), 0.01, np.float32)
    probabilities[np.arange(count), said] = np.linspace(0.5, 0.91, count)
    return images, labels, probabilities


def fake_gates(steps=28, units=16, names=("write (i)", "keep (f)", "read (o)")):
    rng = np.random.default_rng(2)
    return {name: rng.uniform(size=(steps, units)).astype(np.float32) for name in names}


def predictions(count=40, mistakes=5, gates=None):
    images, labels, probabilities = fake_digits(count, mistakes)
    return training.predictions_figure(
        images, labels, probabilities, gates or {}, images[0], "a title"
    )


def flaws(figure):
    """List texts that extend beyond the canvas, and pairs of overlapping texts."""
    figure.canvas.draw()
    found = [figure._suptitle]
    for axes in figure.axes:
        found += axes.texts
        if axes.axison:
            found += [axes.xaxis.label, axes.yaxis.label]
            for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
                found += [label for place, label in ticks if ends[0] <= place <= ends[1]]
    boxes = [(text.get_text(), text.get_window_extent()) for text in found if text.get_text()]
    (left, bottom), (right, top) = figure.bbox.get_points()
    cut = [
        name
        for name, box in boxes
        if box.x0 < left or box.y0 < bottom or box.x1 > right or box.y1 > top
    ]
    return cut + [
        (one, other)
        for k, (one, box) in enumerate(boxes)
        for other, near in boxes[:k]
        if box.padded(-1).overlaps(near)
    ]


def png(figure, tmp_path):
    style.save(figure, tmp_path / "figure.png")
    return (tmp_path / "figure.png").read_bytes()
