"""The sine experiment: the benefit of the carry between windows, and resuming."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import sine_regression
from cut import cut_and_resumed, rows
from sine_regression import Config, main

from rnn_jax import InputError, load_run
from rnn_jax.datasets.tones import streams
from rnn_jax.plotting import time_series

SMALL = {"hidden_size": 16, "batch_size": 16, "windows": 20, "window": 10, "learning_rate": 0.01}
BRIEF = SMALL | {"steps": 6, "log_every": 4}


def test_the_network_learns_with_its_carry_and_not_without(tmp_path):
    """The mean square of a cosine is 1/2, the error of the constant output 0."""
    small = SMALL | {"steps": 1000, "log_every": 500}
    carried = main(Config(**small, out_dir=tmp_path / "carried"))
    reset = main(Config(**small, reset_state=True, out_dir=tmp_path / "reset"))
    assert carried["test_mse"] < 0.02
    assert reset["test_mse"] > 3 * carried["test_mse"]


def test_a_run_writes_its_files_and_can_be_loaded(tmp_path):
    summary = main(Config(**BRIEF, out_dir=tmp_path))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["window"] == 10 and summary["reset_state"] is False
    for name in ("training.png", "signals.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    model, settings = load_run(tmp_path)
    sines, cosines = streams(settings["seed"], 16, 400)
    _, ys = model(jnp.asarray(sines.T[..., None]))
    errors = (ys[..., 0].T - cosines)[:, 200:]
    np.testing.assert_allclose((errors**2).mean(), summary["test_mse"], rtol=1e-5)


@pytest.mark.parametrize("reset", [False, True])
def test_the_figure_is_updated_during_training(tmp_path, monkeypatch, reset):
    """The last one shows the trained network, and plotting does not change the results."""
    titles, figure = [], time_series.signals_figure

    def drawn(inputs, targets, first, window, outputs, title):
        titles.append((title, np.asarray(outputs)[:2]))
        return figure(inputs, targets, first, window, outputs, title)

    monkeypatch.setattr(sine_regression, "LIVE_SECONDS", 0)
    monkeypatch.setattr(time_series, "signals_figure", drawn)
    flags = BRIEF | {"steps": 6, "log_every": 2, "reset_state": reset}
    watched = main(Config(**flags, out_dir=tmp_path / "watched"))
    assert [title for title, _ in titles[:-1]] == [f"After {n} of 6 steps" for n in (2, 4, 6)]
    np.testing.assert_allclose(titles[-2][1], titles[-1][1], atol=1e-5)
    monkeypatch.setattr(sine_regression, "LIVE_SECONDS", np.inf)
    assert main(Config(**flags, out_dir=tmp_path / "alone"))["test_mse"] == watched["test_mse"]
    assert rows(tmp_path / "alone") == rows(tmp_path / "watched")


def test_a_resumed_run_restores_its_carry(tmp_path):
    whole = main(Config(**BRIEF, out_dir=tmp_path / "whole"))
    cut = cut_and_resumed(main, Config(**BRIEF, out_dir=tmp_path / "cut"), 3)
    assert cut["test_mse"] == whole["test_mse"]
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_the_target_is_the_input_a_quarter_period_later():
    sines, cosines = streams(0, 4, 4000)
    np.testing.assert_allclose((sines**2).mean(-1), 0.5, atol=0.02)
    np.testing.assert_allclose((sines * cosines).mean(-1), 0, atol=0.02)
    np.testing.assert_allclose(sines**2 + cosines**2, 1, atol=1.01)


def test_an_invalid_setting_names_its_flag(tmp_path):
    with pytest.raises(InputError, match="--window must be at least 1, got 0"):
        main(Config(window=0, out_dir=tmp_path))
