"""The classification experiment: data of optional packages, ragged lengths, resuming."""

import importlib.machinery
import json
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from cut import cut_and_resumed, rows
from sequence_classification import Config, main

from rnn_jax import InputError, load_run
from rnn_jax.datasets.labeled_sequences import from_series, load_sequences

SMALL = {"dataset": "Waves", "hidden_size": 8, "batch_size": 16, "log_every": 50}
BRIEF = SMALL | {"steps": 6, "log_every": 3}
CLASSES = ["down", "up"]


def waves(seed, count):
    """Ramps up or down of 8 to 20 steps, in two features, in the format of aeon."""
    random = np.random.default_rng(seed)
    labels = np.array(CLASSES)[random.integers(2, size=count)]
    series = []
    for label, length in zip(labels, random.integers(8, 21, size=count), strict=True):
        ramp = (1 if label == "up" else -1) * np.linspace(-1, 1, length)
        series.append(np.stack([5 + ramp + random.normal(0, 0.2, length), np.full(length, 3.0)]))
    return series, labels


def load_classification(name, split, extract_path, load_no_missing):
    if name != "Waves":
        raise ValueError(f"{name} is not in the list.\nIt is not.")
    assert load_no_missing and extract_path is None
    return waves(*{"train": (0, 96), "test": (1, 64)}[split])


@pytest.fixture
def install(monkeypatch):
    """Install a module with the given content for the time of a test."""

    def installed(name, **content):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    return installed


@pytest.fixture
def aeon(install):
    install("aeon")
    install("aeon.datasets", load_classification=load_classification)


def test_only_training_steps_within_lengths_set_the_scale(aeon):
    data = load_sequences("Waves")
    (xs, lengths, labels), (test_xs, test_lengths, test_labels) = data.train, data.test
    assert data.classes == tuple(CLASSES) and xs.shape == (96, 20, 2) and "Waves" in data.source
    steps = np.concatenate([series.T for series in waves(0, 96)[0]])
    for n, (series, label) in enumerate(zip(*waves(1, 64), strict=True)):
        want = (series[0] - steps[:, 0].mean()) / steps[:, 0].std()
        np.testing.assert_allclose(test_xs[n, : test_lengths[n], 0], want, rtol=1e-5)
        assert not test_xs[n, test_lengths[n] :].any() and not test_xs[n, :, 1].any()
        assert data.classes[test_labels[n]] == label
    valid = np.concatenate([x[:length, 0] for x, length in zip(xs, lengths, strict=True)])
    np.testing.assert_allclose([valid.mean(), valid.std()], [0, 1], atol=1e-5)
    assert labels.dtype == np.int32


def test_mnist1d_is_generated_and_the_random_state_stays(install):
    def make_dataset():
        np.random.seed(42)
        xs, ys = np.random.normal(size=(30, 40)), np.arange(30) % 10
        return {"x": xs[:20], "y": ys[:20], "x_test": xs[20:], "y_test": ys[20:]}

    install("mnist1d")
    install("mnist1d.data", make_dataset=make_dataset)
    np.random.seed(1)
    want = np.random.normal(size=2)
    np.random.seed(1)
    data = load_sequences("mnist1d")
    np.testing.assert_array_equal(np.random.normal(size=2), want)
    assert data.train[0].shape == (20, 40, 1) and data.test[0].shape == (10, 40, 1)
    assert data.classes == tuple("0123456789") and set(data.train[1]) == {40}


def test_the_package_mnist1d_gives_its_published_sizes():
    pytest.importorskip("mnist1d")
    data = load_sequences("mnist1d")
    assert data.train[0].shape == (4000, 40, 1) and data.test[0].shape == (1000, 40, 1)
    assert len(data.classes) == 10


@pytest.mark.parametrize("dataset, package", [("mnist1d", "mnist1d"), ("GunPoint", "aeon")])
def test_a_missing_package_is_one_sentence(dataset, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"`dataset={dataset}` needs .* pip install -e") as error:
        main(Config(dataset=dataset, out_dir=tmp_path / "run"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_unknown_data_set_is_one_sentence(aeon):
    with pytest.raises(InputError, match=r"aeon cannot load `dataset=Wave` \(Wave is not") as error:
        load_sequences("Wave")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "value, label, words", [(np.nan, "up", "xs must be finite"), (1.0, "flat", "such as flat")]
)
def test_data_that_cannot_be_used_are_one_sentence(value, label, words):
    series = [np.full((1, 4), value), np.zeros((1, 5))]
    with pytest.raises(InputError, match=words) as error:
        from_series("a set", (series, CLASSES), ([np.zeros((1, 3))], [label]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("readout", ["mean", "carry"])
def test_a_network_learns_ragged_sequences_and_can_be_loaded(readout, aeon, tmp_path):
    flags = SMALL | {"steps": 100, "learning_rate": 0.02, "readout": readout}
    summary = main(Config(**flags, out_dir=tmp_path))
    assert summary["test_accuracy"] > 0.95
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    for name in ("training.png", "classes.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    model, _ = load_run(tmp_path)
    xs, lengths, labels = load_sequences("Waves").test
    logits = [model(jnp.asarray(x[:length])) for x, length in zip(xs, lengths, strict=True)]
    right = np.argmax(logits, -1) == labels
    np.testing.assert_allclose(right.mean(), summary["test_accuracy"], rtol=1e-6)


def test_a_run_that_is_cut_off_resumes_exactly(aeon, tmp_path):
    whole = main(Config(**BRIEF, out_dir=tmp_path / "whole"))
    cut = cut_and_resumed(main, Config(**BRIEF, out_dir=tmp_path / "cut"), 3)
    assert cut["test_loss"] == whole["test_loss"]
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
