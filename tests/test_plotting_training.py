"""Figures of a run show the data, for any number of rows, images and gates."""

import numpy as np
import pytest
from figure_checks import fake_digits, fake_gates, fake_rows, flaws, png, predictions
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from rnn_jax.errors import InputError
from rnn_jax.plotting import style, training


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def frames(figure, color):
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return sum(same_color(patch.get_edgecolor(), color) for patch in patches)


@pytest.mark.parametrize("count", [1, 2, 39, 1000])
def test_a_run_of_any_length_shows_every_row_and_all_text(count):
    rows = fake_rows(count)
    figure = training.training_figure(rows, "a title", 0.9771)
    for axes, key in zip(figure.axes, ("loss", "batch_accuracy"), strict=True):
        np.testing.assert_allclose(axes.lines[0].get_xdata(), [row["examples"] for row in rows])
        np.testing.assert_allclose(axes.lines[0].get_ydata(), [row[key] for row in rows])
    assert not flaws(figure)


def test_a_last_row_after_a_shorter_interval_is_not_plotted():
    rows = fake_rows(39)
    rows.append(rows[-1] | {"examples": rows[-1]["examples"] + 256, "loss": 9.0})
    figure = training.training_figure(rows, "a title", 0.9771)
    for axes in figure.axes:
        np.testing.assert_array_equal(axes.lines[0].get_xdata()[-1], 39 * 2560)
        assert axes.get_xlim()[1] > rows[-1]["examples"]
    (marker,) = [line for line in figure.axes[1].lines if line.get_marker() == "D"]
    assert marker.get_xdata()[0] == rows[-1]["examples"]
    assert training.regular_rows(rows[:2]) == rows[:2]


@pytest.mark.parametrize("loss", [0.0301, 0.3, 1.16, 3.3])
def test_a_run_of_one_row_is_a_labeled_point_between_ticks(loss):
    row = fake_rows(1)[0] | {"loss": loss}
    figure = training.training_figure([row], "a title", 0.9771)
    low, high = figure.axes[0].get_ylim()
    ticks = figure.axes[0].yaxis.get_majorticklocs()
    assert sum((low < ticks) & (ticks < high)) >= 2
    assert "only one row" in texts(figure)
    assert not flaws(figure)


def test_both_axes_are_labeled_and_the_loss_is_logarithmic():
    left, right = training.training_figure(fake_rows(39), "a title").axes
    assert left.get_yscale() == "log"
    assert left.get_xlabel() == right.get_xlabel() == "training examples seen"
    assert left.get_ylabel() == "loss [nats], log scale"
    assert right.get_ylabel() == "accuracy"


def test_the_test_accuracy_is_marked_at_the_last_example():
    right = training.training_figure(fake_rows(39), "a title", 0.9771).axes[1]
    (marker,) = [line for line in right.lines if line.get_marker() == "D"]
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (39 * 2560, 0.9771)
    assert [text.get_text() for text in right.texts] == ["test 97.71%"]


def test_without_a_test_accuracy_there_is_no_marker():
    right = training.training_figure(fake_rows(39), "a title").axes[1]
    assert not right.texts
    assert "D" not in [line.get_marker() for line in right.lines]


def test_the_dark_line_is_the_running_median_of_the_light_one():
    left = training.training_figure(fake_rows(39), "a title").axes[0]
    raw, median = (line.get_ydata() for line in left.lines)
    assert median[0] == raw[0]
    assert median[20] == np.median(raw[18:23])
    assert median[38] == np.median(raw[36:])


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0, None])
def test_a_loss_that_is_not_positive_leaves_a_gap_and_a_cross(value):
    rows = fake_rows(39)
    for k in (10, 11, 30):
        rows[k]["loss"] = value
    figure = training.training_figure(rows, "a title")
    raw, median, crosses = figure.axes[0].lines
    for line in (raw, median):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(line.get_ydata())), [10, 11, 30])
    np.testing.assert_array_equal(crosses.get_xdata(), [11 * 2560, 12 * 2560, 31 * 2560])


@pytest.mark.filterwarnings("error")
def test_a_run_without_any_finite_loss_is_plotted(tmp_path):
    rows = [{**row, "loss": np.nan} for row in fake_rows(9)]
    assert png(training.training_figure(rows, "a title", 0.098), tmp_path)


def test_a_run_without_rows_is_an_error():
    with pytest.raises(InputError, match="at least one row"):
        training.training_figure([], "a title")


@pytest.mark.parametrize("mistakes", [0, 5, 40])
def test_mistakes_are_marked_up_to_a_maximum(mistakes):
    figure = predictions(40, mistakes)
    shown = min(mistakes, training.MAX_WRONG)
    assert frames(figure, style.VERMILLION) == shown
    assert sum(text.startswith("true: ") for text in texts(figure)) == shown
    assert frames(figure, style.LINE) == min(40 - mistakes, training.MAX_CORRECT)
    assert {f"Correct: {40 - mistakes} of 40", f"Wrong: {mistakes} of 40"} <= set(texts(figure))


def test_a_mistake_shows_image_prediction_probability_and_label():
    images, labels, probabilities = fake_digits(1, 1)
    figure = training.predictions_figure(images, labels, probabilities, {}, images[0], "a title")
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), images[0])
    said = (labels[0] + 1) % 10
    assert texts(figure)[-3:] == [f"{said}", "50%", f"true: {labels[0]}"]


def test_the_most_confident_mistakes_come_first():
    images, _, _ = fake_digits(40, 20)
    shown = [image.get_array() for image in predictions(40, 20).axes[0].images]
    wrong = shown[-training.MAX_WRONG :]
    np.testing.assert_array_equal(wrong, images[19 : 19 - training.MAX_WRONG : -1])


@pytest.mark.parametrize(
    ("count", "names"), [(1, ()), (9, ("z",)), (23, ("z", "r")), (200, ("i", "f", "o", "p"))]
)
def test_no_text_is_cut_or_overlaps(count, names):
    assert not flaws(predictions(count, count // 3, fake_gates(names=names, units=512)))


def test_a_single_class_is_plotted(tmp_path):
    images, _, _ = fake_digits(30, 0)
    figure = training.predictions_figure(
        images, np.full(30, 7), np.full((30, 1), 1.0), {}, images[0], "a title"
    )
    assert "Correct: 0 of 30" in texts(figure)
    assert png(figure, tmp_path)


@pytest.mark.parametrize("steps", [28, 784])
def test_the_digit_and_its_gates_share_their_time_axis(steps):
    gates = fake_gates(steps)
    figure = predictions(40, 5, gates)
    panels = [
        (*image.get_extent()[2:], image.get_array())
        for image in figure.axes[0].images
        if image.get_extent()[3] - image.get_extent()[2] > 1
    ]
    assert len(panels) == 1 + len(gates)
    assert len({(bottom, top) for bottom, top, _ in panels}) == 1
    for gate, (_, _, drawn) in zip(gates.values(), panels[1:], strict=True):
        assert drawn.shape == gate.shape
        assert np.all(np.diff(drawn.mean(0)) >= 0)
    assert {"time step", "0", f"{steps}", *gates} <= set(texts(figure))


def test_the_dotted_lines_enclose_the_ink_of_the_digit():
    images, labels, probabilities = fake_digits(20, 0)
    digit = np.zeros((28, 28), np.uint8)
    digit[7:21] = 255
    figure = training.predictions_figure(images, labels, probabilities, fake_gates(), digit, "t")
    page = figure.axes[0]
    (bottom, top) = page.images[16].get_extent()[2:]
    heights = [path.vertices[0, 1] for path in page.collections[-1].get_paths()]
    np.testing.assert_allclose(heights, [top - (top - bottom) / 4, bottom + (top - bottom) / 4])


def test_a_blank_digit_is_plotted_without_ink():
    images, labels, probabilities = fake_digits(20, 0)
    blank = np.zeros((28, 28), np.uint8)
    figure = training.predictions_figure(images, labels, probabilities, fake_gates(), blank, "t")
    assert not flaws(figure)


def test_a_network_without_gates_ends_at_the_images():
    assert "time step" not in texts(predictions())
    assert predictions().get_figheight() < predictions(gates=fake_gates()).get_figheight() - 2


def test_mismatched_lengths_and_empty_images_are_errors():
    images, labels, probabilities = fake_digits(20, 0)
    with pytest.raises(InputError, match="the same length"):
        training.predictions_figure(images, labels[:-1], probabilities, {}, images[0], "t")
    with pytest.raises(InputError, match="the same length"):
        training.predictions_figure(images[:0], labels[:0], probabilities[:0], {}, images[0], "t")


@pytest.mark.parametrize("gate", [np.full((28, 4), -0.5), np.full((28, 4), np.nan), np.ones(28)])
def test_an_invalid_gate_is_refused_by_name(gate):
    with pytest.raises(InputError, match="'candidate'"):
        predictions(gates={"candidate": gate})
