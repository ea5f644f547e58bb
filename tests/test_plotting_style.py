"""One style for every figure, independent of the caller's, and atomic saves."""

import os
import threading

import matplotlib
import pytest
from figure_checks import fake_gates, fake_rows, flaws, png, predictions

from rnn_jax.plotting import style, training


def test_a_long_title_is_wrapped_and_moves_the_panels_down():
    assert not flaws(training.training_figure(fake_rows(9), "a title that is long " * 8, 0.9))


def test_the_same_call_twice_gives_the_same_bytes(tmp_path):
    for draw in (
        lambda: training.training_figure(fake_rows(39), "a title", 0.9),
        lambda: predictions(gates=fake_gates()),
    ):
        assert png(draw(), tmp_path) == png(draw(), tmp_path)


def test_the_style_of_the_caller_is_neither_used_nor_changed(tmp_path):
    expected = png(training.training_figure(fake_rows(9), "a title"), tmp_path)
    with matplotlib.rc_context({"figure.facecolor": "black", "font.size": 20, "savefig.dpi": 30}):
        before = dict(matplotlib.rcParams)
        assert png(training.training_figure(fake_rows(9), "a title"), tmp_path) == expected
        assert dict(matplotlib.rcParams) == before


def test_threads_plot_the_same_as_one_thread(tmp_path):
    before = dict(matplotlib.rcParams)

    def draw(k):
        style.save(training.training_figure(fake_rows(9), "a title"), tmp_path / f"{k}.png")

    threads = [threading.Thread(target=draw, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(tmp_path / f"{k}.png").read_bytes() for k in range(3)}) == 1
    assert dict(matplotlib.rcParams) == before


def test_saving_replaces_the_file_and_leaves_no_other_files(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    style.save(predictions(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert os.listdir(tmp_path) == ["figure.png"]


@pytest.mark.parametrize("broken", ["savefig", "replace"])
def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch, broken):
    def fail(*args, **kwargs):
        raise OSError("no space")

    figure, path = predictions(), tmp_path / "figure.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(*((figure, "savefig") if broken == "savefig" else (os, "replace")), fail)
    with pytest.raises(OSError, match="no space"):
        style.save(figure, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["figure.png"]


def test_a_saved_figure_has_the_permissions_of_any_new_file(tmp_path):
    style.save(predictions(), tmp_path / "figure.png")
    (tmp_path / "other").touch()
    assert (tmp_path / "figure.png").stat().st_mode == (tmp_path / "other").stat().st_mode
