"""experiments/speech_digits.py: learning tones, resuming, unheard speakers, missing recordings."""

import json
import os
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
import transcribe
from cut import cut_and_resumed, rows
from repository import ROOT
from scipy import signal
from scipy.io import wavfile
from speech_digits import Config, main
from tone_recordings import write_recordings

from rnn_jax import InputError
from rnn_jax.datasets import utterances
from rnn_jax.datasets.spoken_digits import digit_strings, load_recordings
from rnn_jax.models.ctc import label_error_rate
from rnn_jax.training.runs.saved_runs import load_run

SMALL = {"hidden_size": 8, "batch_size": 8, "utterances": 24, "test_strings": 2, "devices": 1}
BRIEF = SMALL | {"num_layers": 1, "steps": 6, "log_every": 3, "single": True}
LEARNING = {"hidden_size": 24, "utterances": 400, "test_strings": 20, "devices": 1, "dropout": 0.0}


FAR_APART = 0, 1, 3, 8
"""Digits whose tones differ by more than augmentation changes the speed."""


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("tones"), FAR_APART, range(3, 8))


def test_a_run_that_is_cut_off_resumes_exactly(tones, tmp_path):
    whole = main(Config(**BRIEF, data_dir=tones, out_dir=tmp_path / "whole"))
    cut = cut_and_resumed(main, Config(**BRIEF, data_dir=tones, out_dir=tmp_path / "cut"), 3)
    assert cut["speaker_error_rates"] == whole["speaker_error_rates"]
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_run_is_loaded_with_the_normalizer_of_its_training_set(tones, tmp_path):
    summary = main(Config(**BRIEF, data_dir=tones, out_dir=tmp_path))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    model, settings = load_run(tmp_path, experiment="speech_digits")
    heard, unheard = utterances.split(load_recordings(tones))
    train = utterances.training_set(heard, 0, 24, 1, normalize=True)
    found = utterances.statistics(train)
    assert list(model.mean) == found["feature_mean"] == settings["feature_mean"]
    test, _ = utterances.test_set(unheard, 2, 1, normalize=True)
    xs = jnp.asarray(test.xs.swapaxes(0, 1), jnp.float32)
    _, logits = model(xs, lengths=jnp.asarray(test.lengths))
    assert logits.shape[1:] == (len(test.xs), 11)
    for name in ("training.png", "speakers.png", "confusion.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_strings_of_tones_are_written_down(tones, tmp_path):
    flags = LEARNING | {"steps": 300, "learning_rate": 0.01, "num_layers": 1}
    summary = main(Config(**flags, data_dir=tones, out_dir=tmp_path))
    assert summary["digit_error_rate"] < 0.05
    assert summary["greedy_error_rate"] < 0.15
    assert (tmp_path / "transcript.png").read_bytes().startswith(b"\x89PNG")
    sounds, digits = digit_strings(utterances.load_split(tones, "low")[1], 0, 10)
    paths = tuple(tmp_path / f"{n}.wav" for n in range(len(sounds)))
    for path, sound in zip(paths, sounds, strict=True):
        wavfile.write(path, 16_000, signal.resample_poly(sound, 2, 1))
    made = [[*map(int, text)] for text in transcribe.main(transcribe.Config(tmp_path, paths))]
    assert label_error_rate(made, [each.tolist() for each in digits]) < 0.15


def test_a_held_out_speaker_is_the_whole_test_set(tones):
    recordings = load_recordings(tones)
    heard, unheard = utterances.split(recordings, "low")
    assert set(heard.speakers) == {"high"} and set(unheard.speakers) == {"low"}
    with pytest.raises(InputError, match="`held_out` must be one of high, low; got nobody"):
        utterances.split(recordings, "nobody")


def test_recordings_without_a_test_set_are_one_sentence(tones):
    recordings = load_recordings(tones)
    with pytest.raises(InputError, match="for training or for testing only") as error:
        utterances.split(recordings.where(recordings.indices > 4))
    assert "\n" not in str(error.value)


def test_augmentation_changes_speed_gain_and_noise_by_the_seed():
    sound = np.sin(np.arange(4_000) * 0.3).astype(np.float32)
    first, again = (utterances.augmented(sound, np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    lengths = [len(utterances.augmented(sound, np.random.default_rng(n))) for n in range(40)]
    assert 3_150 < min(lengths) < 3_500 and 4_600 < max(lengths) < 5_050


def test_some_training_strings_are_noise_without_digits(tones):
    heard, _ = utterances.load_split(tones)
    train = utterances.training_set(heard, 0, 200, 7)
    silent = np.flatnonzero(train.counts == 0)
    assert 0 < len(silent) < 20 and train.labels[silent].max() == 0
    assert utterances.training_set(heard, 0, 200, 1).counts.min() == 1


def test_statistics_ignore_padding():
    sounds = [0.1 * np.random.default_rng(n).normal(size=n) for n in (800, 8_000)]
    made = utterances.as_utterances(sounds, [np.array([3]), np.array([1, 0])])
    assert made.strings() == [(4,), (2, 1)]
    frames = np.concatenate([x[:n] for x, n in zip(made.xs, made.lengths, strict=True)])
    mean = utterances.statistics(made)["feature_mean"]
    np.testing.assert_allclose(mean, frames.astype(np.float32).mean(0), atol=1e-3)


def test_missing_recordings_are_one_sentence_without_jax(tmp_path):
    command = [sys.executable, ROOT / "experiments/speech_digits.py", "--out-dir", tmp_path / "run"]
    start = time.monotonic()
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and time.monotonic() - start < 20
    assert done.stderr.count("\n") == 1
    assert "--data-dir" in done.stderr and "network" in done.stderr
    assert not (tmp_path / "run").exists()
