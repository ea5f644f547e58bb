"""Formal languages: answers equal those of plain Python, and examples depend on their key alone."""

import re

import jax
import numpy as np
import pytest

from rnn_jax.datasets.formal_languages import LANGUAGES
from rnn_jax.datasets.memory_tasks import example_keys

LONGEST = 12
LENGTHS = np.arange(1, LONGEST + 1).repeat(30)


def cycle(string):
    return (string.count("+") - string.count("-")) % 5


def dyck(string):
    while "()" in string:
        string = string.replace("()", "")
    return int(not string)


ORACLES = {
    "parity": lambda string: [string.count("1") % 2],
    "even_pairs": lambda string: [len(re.findall("(?=01|10)", string)) % 2],
    "cycle": lambda string: [cycle(string)],
    "arithmetic": lambda string: [eval(string) % 5],
    "dyck": lambda string: [dyck(string)],
    "reverse": lambda string: [int(bit) for bit in reversed(string)],
    "duplicate": lambda string: [int(bit) for bit in string + string],
}


def sample(name, numbers, lengths, seed=0):
    keys = example_keys(seed, numbers)
    return jax.device_get(LANGUAGES[name].sample(keys, lengths, LONGEST))


def strings(name, xs):
    """The strings of a batch, and the steps that ask for an answer [T, B]."""
    symbols = LANGUAGES[name].symbols
    ids = np.where(xs.any(-1), xs.argmax(-1), -1)
    texts = ["".join(symbols[n] for n in column if 0 <= n < len(symbols)) for column in ids.T]
    return texts, ids == len(symbols)


@pytest.mark.parametrize("name", LANGUAGES)
def test_answers_are_those_of_plain_python(name):
    xs, targets = sample(name, np.arange(len(LENGTHS)), LENGTHS)
    assert len(xs) == LANGUAGES[name].steps(LONGEST) and xs.sum(-1).max() == 1
    texts, asked = strings(name, xs)
    np.testing.assert_array_equal(asked, targets >= 0)
    rounding = {"arithmetic": lambda n: n - 1 + n % 2, "dyck": lambda n: n - n % 2}
    for text, length, column, places in zip(texts, LENGTHS, targets.T, asked.T, strict=True):
        assert len(text) == rounding.get(name, int)(length)
        answers = ORACLES[name](text)
        assert column[places].tolist() == answers
        assert np.flatnonzero(places).tolist() == list(range(len(text), len(text) + len(answers)))
    assert set("".join(texts)) == set(LANGUAGES[name].symbols)
    shares = np.bincount(targets[asked], minlength=LANGUAGES[name].num_classes) / asked.sum()
    assert (shares > 0.1).all() and len(shares) == LANGUAGES[name].num_classes


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_string_is_a_function_of_seed_number_and_length(name):
    order = np.random.default_rng(0).permutation(len(LENGTHS))
    first = sample(name, np.arange(len(LENGTHS)), LENGTHS)
    for batch, shuffled in zip(first, sample(name, order, LENGTHS[order]), strict=True):
        np.testing.assert_array_equal(batch[:, order], shuffled)
    other = sample(name, np.arange(len(LENGTHS)), LENGTHS, seed=1)
    assert (other.xs != first.xs).any((0, 2)).mean() > 0.5


def test_balanced_strings_of_three_pairs_are_all_five_and_more_than_half():
    xs, targets = sample("dyck", np.arange(len(LENGTHS)), np.full_like(LENGTHS, 6))
    balanced = targets[6] == 1
    texts = np.array(strings("dyck", xs)[0])[balanced]
    assert set(texts) == {"((()))", "(()())", "(())()", "()(())", "()()()"}
    assert 0.5 < balanced.mean() < 0.75
