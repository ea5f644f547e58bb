"""CTC: loss, gradient and decoding against sums over all paths."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from figure_checks import flaws

from rnn_jax import InputError
from rnn_jax.models.ctc import collapse, greedy_decode, prefix_beam_decode
from rnn_jax.plotting.ctc import lattice_figure, symbol_figure

T, C = 3, 3


def example(seed, shape=(T, C)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def merged(path):
    """Labels of a path, by the definition of Graves et al. (2006)."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)


def all_paths(logits):
    """Each path with its probability."""
    y = np.exp(logits.astype(np.float64))
    y /= y.sum(-1, keepdims=True)
    for path in itertools.product(range(y.shape[1]), repeat=len(y)):
        yield path, math.prod(y[np.arange(len(y)), path])


def string_probabilities(logits):
    sums = {}
    for path, probability in all_paths(logits):
        sums[merged(path)] = sums.get(merged(path), 0) + probability
    return sums


STRINGS = [(1, 2), (2,), (1, 1), (1, 2, 1)]


@pytest.fixture(scope="module")
def optax_results():
    """Loss and gradient of each string, for the same logits."""
    labels = np.array([[*labels, *[0] * (T - len(labels))] for labels in STRINGS])
    logits = jnp.broadcast_to(example(0), (len(STRINGS), T, C))
    losses = jax.jit(lambda z: optax.ctc_loss(z, jnp.zeros(z.shape[:2]), labels, labels == 0.0))
    values, pullback = jax.vjp(losses, logits)
    return dict(
        zip(STRINGS, zip(values, *pullback(jnp.ones_like(values)), strict=True), strict=True)
    )


@pytest.mark.parametrize("labels", STRINGS)
def test_the_loss_is_minus_the_log_of_the_sum_over_all_paths(labels, optax_results):
    expected = -math.log(string_probabilities(example(0))[labels])
    np.testing.assert_allclose(optax_results[labels][0], expected, rtol=1e-5)


@pytest.mark.parametrize("labels", STRINGS)
def test_the_gradient_is_softmax_minus_occupation_probabilities(labels, optax_results):
    occupation, total = np.zeros((T, C)), 0.0
    for path, probability in all_paths(example(0)):
        if merged(path) == labels:
            occupation[np.arange(T), path] += probability
            total += probability
    expected = np.asarray(jax.nn.softmax(jnp.asarray(example(0)))) - occupation / total
    np.testing.assert_allclose(optax_results[labels][1], expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_probability_of_every_string(seed):
    logits = 2 * example(seed, (4, 3))
    expected = string_probabilities(logits)
    found = prefix_beam_decode(logits, width=1000)
    assert dict(found) == pytest.approx({key: math.log(p) for key, p in expected.items()})
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_narrow_beam_gives_lower_bounds_of_probabilities(width):
    logits = 2 * example(7, (6, 4))
    exact = string_probabilities(logits)
    found = prefix_beam_decode(logits, width)
    assert 1 <= len(found) <= width
    assert all(p <= math.log(exact[labels]) + 1e-9 for labels, p in found)


def test_greedy_labels_are_those_of_the_most_probable_path():
    logits = example(3, (6, 5, 3))
    expected = [merged(max(all_paths(each), key=lambda item: item[1])[0]) for each in logits]
    assert greedy_decode(logits) == expected
    lengths = np.array([5, 0, 1, 2, 3, 4])
    cut = [greedy_decode(each[None, :n])[0] for each, n in zip(logits, lengths, strict=True)]
    assert greedy_decode(logits, lengths) == cut


def test_the_best_path_and_the_best_string_can_differ():
    logits = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert greedy_decode(logits[None]) == [()]
    (labels, score), (other, _) = prefix_beam_decode(logits)
    assert (labels, other) == ((1,), ()) and math.exp(score) == pytest.approx(1 - 0.36)


def test_a_path_in_two_parts_collapses_as_the_whole():
    path = [0, 1, 1, 0, 1, 2, 2, 0, 0, 3]
    for cut in range(1, len(path)):
        whole = collapse(path[:cut]) + collapse(path[cut:], before=path[cut - 1])
        assert whole == collapse(path) == (1, 1, 2, 3)


def test_long_sequences_neither_underflow_nor_overflow():
    logits = 300 * example(0, (500, 4))
    ((labels, score),) = prefix_beam_decode(logits, width=1)
    best_path = np.asarray(jax.nn.log_softmax(jnp.asarray(logits))).max(-1).sum()
    assert labels == greedy_decode(logits[None])[0] and best_path - 1e-3 < score <= 0
    ((_, score),) = prefix_beam_decode(np.zeros((500, 4), np.float32), width=1)
    assert score == pytest.approx(500 * math.log(1 / 4))


def test_decoding_takes_impossible_classes_and_no_frames():
    logits = np.array([[-np.inf, 0.0], [0.0, -np.inf]])
    assert prefix_beam_decode(logits) == [((1,), 0.0)]
    assert prefix_beam_decode(logits[:0]) == [((), 0.0)]
    assert greedy_decode(logits[None, :0]) == [()]


def test_nan_and_a_width_of_zero_are_errors():
    logits = np.full((2, 3), np.nan)
    with pytest.raises(InputError, match="got NaN"):
        prefix_beam_decode(logits)
    with pytest.raises(InputError, match="got NaN"):
        greedy_decode(logits[None])
    with pytest.raises(InputError, match="width must be a positive integer"):
        prefix_beam_decode(np.zeros((2, 3)), width=0)


def test_the_lattice_shows_the_share_of_paths_through_each_node():
    figure = lattice_figure({"a-ba": 0.3, "-aba": 0.1}, "aba", "a title")
    axes, listing = figure.axes
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown == {
        **{(0, 0): "0.25", (0, 1): "0.75", (1, 1): "0.25", (1, 2): "0.75"},
        **{(2, 3): "1.00", (3, 5): "1.00"},
    }
    assert listing.texts[0].get_text().split() == ["a-ba", "0.300", "-aba", "0.100", "sum", "0.400"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list("-a-b-a-")
    assert flaws(figure) == []


def test_the_figure_of_symbols_has_a_curve_for_every_class():
    values = np.full((20, 6), 1 / 6)
    figure = symbol_figure({"step 0": values, "step 1": values}, "-abcde", "a title")
    assert [len(axes.lines) for axes in figure.axes] == [6, 6]
    assert flaws(figure) == []
