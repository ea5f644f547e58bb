"""The grid of generated digits shows its arguments and marks misclassified digits."""

import numpy as np
import pytest
from figure_checks import flaws
from matplotlib.patches import Rectangle

from rnn_jax.plotting.digit_grid import GENERATED, REAL, digits_figure


@pytest.mark.parametrize("each", [1, 12])
def test_the_first_of_each_digit_are_shown_and_mistakes_framed(each):
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(3), each)
    generated, real = random.integers(0, 2, (2, 3 * each, 28, 28))
    predicted = labels.copy()
    predicted[1] = 7
    predicted[3 * GENERATED :] = 9
    figure = digits_figure(generated, real, labels, predicted, "a title")
    (page,) = figure.axes
    shown = min(each, GENERATED), min(each, REAL)
    assert len(page.images) == 3 * sum(shown)
    np.testing.assert_array_equal(page.images[0].get_array(), generated[0])
    np.testing.assert_array_equal(page.images[shown[0]].get_array(), real[0])
    assert sum(isinstance(patch, Rectangle) for patch in page.patches) == 1
    assert [text.get_text() for text in page.texts].count("7") == 1
    assert not flaws(figure)
