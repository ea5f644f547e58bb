"""experiments/formal_languages.py: learning, resuming a grid, parity in finite precision."""

import dataclasses

import formal_languages as experiment
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import InputError, LSTMCell, MinGRUCell, unroll
from rnn_jax.datasets.formal_languages import LANGUAGES
from rnn_jax.datasets.memory_tasks import example_keys
from rnn_jax.initializers import Chrono, Default
from rnn_jax.plotting import formal_languages as report
from rnn_jax.training.from_scratch import cell_and_init
from rnn_jax.training.length_generalization import answer_loss, curriculum

SMALL = {"tasks": ("parity",), "hidden_size": 8, "longest": 4, "test_longest": 8, "bins": 4}
SMALL |= {"batch_size": 8, "devices": 1}
BRIEF = SMALL | {"cells": ("mingru",), "steps": 3, "test_examples": 2, "seeds": 1}


def parity_cell(a_min):
    """A cell of one unit that changes its state at a one, and keeps it at a zero."""
    cell = MinGRUCell(1, a_min=a_min)
    params = cell.init(jax.random.key(0), 3)
    return cell, params._replace(w_x=jnp.array([[-40.0, 0], [40.0, 1.0], [-40.0, 0]]))


def test_one_unit_with_a_in_minus_1_to_1_holds_the_parity_of_any_string():
    lengths = np.arange(1, 501, 7)
    keys = example_keys(0, np.arange(len(lengths)))
    xs, targets = LANGUAGES["parity"].sample(keys, lengths, 500)
    cell, params = parity_cell(-1.0)
    _, ys = unroll(cell, params, xs)
    asked = np.asarray(targets) >= 0
    np.testing.assert_array_equal(np.asarray(ys)[asked][:, 0], np.asarray(targets)[asked])


def test_with_a_in_0_to_1_the_state_converges_on_ones_and_forgets_parity():
    ones = jnp.zeros((400, 1, 3)).at[..., 1].set(1)
    for seed in range(3):
        cell = MinGRUCell(8)
        params = cell.init(jax.random.key(seed), 3)
        _, ys = unroll(cell, params, ones)
        np.testing.assert_array_equal(ys[-1], ys[-2])
    cell, params = parity_cell(-1.0)
    _, ys = unroll(cell, params, ones)
    assert ys[-1] != ys[-2]


def test_cells_learn_parity_of_longer_strings_and_mingru_does_not(tmp_path):
    cells = ("mingru", "mingru:a_min=-1")
    flags = SMALL | {"cells": cells, "steps": 600, "test_examples": 40, "batch_size": 32}
    rows = experiment.main(experiment.Config(**flags, seeds=1, out_dir=tmp_path))
    kept, signed = (report.beyond(row) for row in rows)
    assert signed > 0.98 and kept < 0.8
    assert (tmp_path / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_grid_resumes_exactly(tmp_path, capsys):
    config = experiment.Config(**BRIEF | {"seeds": 2}, out_dir=tmp_path / "out")
    whole = experiment.main(config)
    assert whole[0]["accuracies"] != whole[1]["accuracies"]
    path = config.out_dir / experiment.ROWS
    path.write_text(path.read_text().splitlines(keepends=True)[0] + '{"task": "par')
    capsys.readouterr()
    again = experiment.main(config)
    assert again[0] == whole[0]
    assert again[1] | {"seconds": 0} == whole[1] | {"seconds": 0}
    printed = capsys.readouterr().out
    assert "2/2  parity, mingru, seed 1: accuracy" in printed and "1/2  " not in printed
    assert again == experiment.main(dataclasses.replace(config, replot=True))


def test_loss_and_accuracy_are_means_over_the_answers_of_each_string():
    logits = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    targets = np.array([[-1, 0], [2, 1], [-1, 2], [-1, -1]])
    losses, right = answer_loss(jnp.asarray(logits), jnp.asarray(targets))
    for n, places in enumerate(([1], [0, 1, 2])):
        found, wanted = logits[places, n], targets[places, n]
        correct = np.exp(found)[np.arange(len(places)), wanted] / np.exp(found).sum(-1)
        np.testing.assert_allclose(losses[n], -np.log(correct).mean(), rtol=1e-5)
        np.testing.assert_allclose(right[n], (found.argmax(-1) == wanted).mean())


def test_training_strings_grow_from_2_symbols_to_the_longest():
    longest = [curriculum(step, 1000, 40) for step in range(1000)]
    assert longest[0] == 2 and longest == sorted(longest)
    assert longest[500:] == [40] * 500 and longest[400] < 40


def test_the_table_has_means_over_longer_strings_beside_chance():
    shared = {"longest": 20, "test_longest": 40}
    rows = [
        {"task": "cycle", "cell": cell, "seed": seed, "accuracies": [1.0, accuracy]} | shared
        for cell, values in {"lstm": (0.25, 0.75), "gru": (0.5,)}.items()
        for seed, accuracy in enumerate(values)
    ]
    assert {task: report.chance(task) for task in LANGUAGES} == {
        task: 1 / language.num_classes for task, language in LANGUAGES.items()
    }
    lines = report.summary(rows)
    assert "lengths 21 to 40" in lines[0]
    assert "| chance | 20 |" in lines and "| `gru` | 50.0 |" in lines
    assert "| `lstm` | 50.0 ± 35.4 |" in lines
    assert "| RNN-256, Delétang et al. | 100.0 |" in lines


def test_a_variant_names_a_field_of_the_cell_or_an_initializer():
    assert cell_and_init("mingru:a_min=-1", 4) == (MinGRUCell(4, a_min=-1.0), Default())
    assert cell_and_init("lstm:forget_bias=0", 4)[0] == LSTMCell(4, forget_bias=0.0)
    assert cell_and_init("lstm:chrono=30", 4) == (LSTMCell(4), Chrono(30))


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"cells": ("lstn",)}, "one of lstm, .* got 'lstn'"),
        ({"cells": ("mingru:a_min=-2",)}, "a_min must be at least -1"),
        ({"cells": ("mingru:a_min=low",)}, "a_min of a cell must be a number here, got 'low'"),
        ({"cells": ("gru:chrono",)}, "init must be"),
        ({"tasks": ()}, "nothing to train"),
        ({"bins": 3}, "--bins must split"),
        ({"longest": 3}, "--bins must split"),
        ({"longest": 8}, "--bins must split"),
        ({"layers": 0}, "--layers must be at least 1"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
        ({"replot": True}, "cannot be read as rows"),
    ],
)
def test_a_mistake_is_one_sentence(changes, says, tmp_path):
    with pytest.raises(InputError, match=says):
        experiment.main(experiment.Config(**BRIEF | {"out_dir": tmp_path / "out"} | changes))
    assert not (tmp_path / "out").exists()
