"""The sheet of drawn digits shows what it is given, and marks what is read as another digit."""

import numpy as np
import pytest
from drawings import flaws
from matplotlib.patches import Rectangle

from rnn_jax.plotting.digit_grid import DRAWN, REAL, digits_figure


@pytest.mark.parametrize("each", [1, 12])
def test_the_first_of_each_digit_are_drawn_and_those_misread_are_framed(each):
    random = np.random.default_rng(0)
    asked = np.tile(np.arange(3), each)
    drawn, real = random.integers(0, 2, (2, 3 * each, 28, 28))
    read = asked.copy()
    read[1] = 7
    read[3 * DRAWN :] = 9
    figure = digits_figure(drawn, real, asked, read, "a title", "a note")
    (page,) = figure.axes
    shown = min(each, DRAWN), min(each, REAL)
    assert len(page.images) == 3 * sum(shown)
    np.testing.assert_array_equal(page.images[0].get_array(), drawn[0])
    np.testing.assert_array_equal(page.images[shown[0]].get_array(), real[0])
    assert sum(isinstance(patch, Rectangle) for patch in page.patches) == 1
    assert [text.get_text() for text in page.texts].count("7") == 1
    assert not flaws(figure)
