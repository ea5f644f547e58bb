"""The flip-flop experiment: its data, fixed points that hold the bits, and resuming."""

import json

import jax.numpy as jnp
import numpy as np
from cut import cut_and_resumed, rows
from flip_flop import Config, main

from rnn_jax import load_run
from rnn_jax.datasets.flip_flop import flip_flops

SMALL = {"hidden_size": 16, "bits": 1, "length": 20, "sequences": 200, "batch_size": 20}
BRIEF = SMALL | {"steps": 6, "log_every": 3, "candidates": 20}


def test_the_target_is_the_sign_of_the_last_pulse():
    pulses, targets = flip_flops(0, 50, 40, 2)
    assert np.unique(pulses).tolist() == [-1, 0, 1]
    for sequence, wanted in zip(pulses, targets, strict=True):
        held = np.zeros(2)
        for pulse, target in zip(sequence, wanted, strict=True):
            held = np.where(pulse != 0, pulse, held)
            np.testing.assert_array_equal(target, held)
    rate = np.mean(flip_flops(1, 200, 100, 3)[0][:, 1:] != 0)
    np.testing.assert_allclose(rate, 0.1, atol=0.01)


def test_a_network_learns_one_bit_and_holds_it_in_two_stable_points(tmp_path):
    flags = SMALL | {"steps": 300, "log_every": 100, "learning_rate": 0.01, "candidates": 100}
    summary = main(Config(**flags, out_dir=tmp_path))
    assert summary["test_bits"] > 0.99
    assert summary["stable_points"] == 2 and summary["saddles"] >= 1


def test_a_run_writes_its_files_and_can_be_loaded(tmp_path):
    summary = main(Config(**BRIEF, cell="lstm", out_dir=tmp_path))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    for name in ("training.png", "fixed_points.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    model, settings = load_run(tmp_path)
    xs, targets = flip_flops(settings["seed"] + 2**32, 200, 20, 1)
    _, ys = model(jnp.asarray(xs.swapaxes(0, 1)))
    right = np.sign(ys.swapaxes(0, 1)) == targets
    np.testing.assert_allclose(right.mean(), summary["test_bits"], rtol=1e-6)


def test_a_run_that_is_cut_off_resumes_exactly(tmp_path):
    whole = main(Config(**BRIEF, out_dir=tmp_path / "whole"))
    cut = cut_and_resumed(main, Config(**BRIEF, out_dir=tmp_path / "cut"), 3)
    assert cut["test_bits"] == whole["test_bits"]
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
