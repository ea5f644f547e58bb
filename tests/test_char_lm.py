"""The character language model end to end: learning, resuming and sampling."""

import json
from pathlib import Path

import numpy as np
import pytest
from char_lm import Config, main
from cut import cut_and_resumed, rows

from rnn_jax import InputError, load_run
from rnn_jax.training.runs.text_sampler import sample_text

WORDS = "one", "three", "five", "seven"
SMALL = {"hidden_size": 16, "batch_size": 8, "window": 16, "learning_rate": 0.02, "devices": 1}
BRIEF = SMALL | {"steps": 6, "log_every": 4, "sample_length": 20}


@pytest.fixture
def text(tmp_path):
    """Four words in random order, predictable only after their first letters."""
    order = np.random.default_rng(0).integers(len(WORDS), size=1500)
    path = tmp_path / "words.txt"
    path.write_text(" ".join(WORDS[i] for i in order))
    return path


def test_the_model_learns_the_words_and_samples_them(text, tmp_path):
    """One of four words takes 2 bits and, with its space, 5 letters on average: 0.4 bits each."""
    more = {"steps": 250, "log_every": 125, "sample_length": 300, "temperature": 0.3}
    summary = main(Config(**SMALL | more, text=text, out_dir=tmp_path / "run"))
    assert 0.38 < summary["test_bits"] < 0.6 < summary["bigram_bits"] < summary["unigram_bits"]
    words = (tmp_path / "run" / "samples.txt").read_text().split()[1:-1]
    assert sum(word in WORDS for word in words) > 0.9 * len(words)


def test_a_run_writes_its_files_and_samples_at_another_temperature(text, tmp_path, capsys):
    config = BRIEF | {"text": text, "out_dir": tmp_path / "run"}
    summary = main(Config(**config))
    out = tmp_path / "run"
    assert json.loads((out / "summary.json").read_text()) == summary
    assert len(summary["text_sha256"]) == 64 and summary["text_sha256"] in summary["data_source"]
    assert summary["characters"] == 6 * 8 * 16 and summary["characters_per_second"] > 0
    assert summary["test_characters"] == round(len(text.read_text()) / 10)
    for name in ("training.png", "character_bits.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    sample = (out / "samples.txt").read_text()
    assert len(sample) == 20 and sample in capsys.readouterr().out
    again = Config(**config | {"sample_length": 7}, resume=True, temperature=0.01, prompt="three ")
    assert main(again) == summary
    sample = (out / "samples.txt").read_text()
    assert sample.startswith("three ") and len(sample) == 6 + 7
    options = again.sample_length, again.temperature, again.seed
    assert sample_text(out, again.prompt, *options) == sample
    text.write_text("another text, of other letters; " * 99)
    with pytest.raises(InputError, match=r"other settings: .*text_sha256") as error:
        main(Config(**config, resume=True))
    assert "\n" not in str(error.value)


def test_a_resumed_run_continues_reading_at_its_position(text, tmp_path):
    brief = BRIEF | {"text": text}
    whole = main(Config(**brief, out_dir=tmp_path / "whole"))
    cut = cut_and_resumed(main, Config(**brief, out_dir=tmp_path / "cut"), 3)
    assert cut["test_bits"] == whole["test_bits"]
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    model, settings = load_run(tmp_path / "cut")
    assert model.output.out_features == len(settings["vocabulary"])


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"window": 0}, "--window must be at least 1, got 0"),
        ({"temperature": -0.1}, "--temperature must be at least 0, got -0.1"),
        ({"cell": "tape"}, "cell must be one of lstm, .*got 'tape'"),
        ({"prompt": "ONE"}, "'O' is not one of the 11 characters of the vocabulary.*prompt"),
        ({"window": 9999}, r"8 streams of windows of 9999 characters need 79,992 .*shorter window"),
        ({"text": Path("gone.txt")}, "gone.txt cannot be read .No such file.*give a text file"),
    ],
)
def test_a_mistake_is_one_sentence(text, tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        main(Config(**BRIEF | {"text": text, "out_dir": tmp_path / "run"} | change))
    assert "\n" not in str(error.value)
