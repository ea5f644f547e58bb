"""An invalid flag gives one sentence, before anything is measured, trained or renamed."""

import math
from pathlib import Path

import char_lm
import date_translation
import features
import flip_flop
import gradient_flossing
import mnist_generate
import mnist_lstm
import online_gradients
import pytest
import sequence_classification
import sine_regression
import speech_digits
import t_maze
import throughput

from rnn_jax import InputError

HUGE = 10**30
EXPERIMENTS = (
    *(char_lm, date_translation, flip_flop, mnist_generate, mnist_lstm),
    *(online_gradients, sequence_classification, sine_regression, speech_digits, t_maze),
)

TABLE = [
    (throughput, "--drivers associative .* lstm is not one", {"drivers": ("associative",)}),
    (
        throughput,
        "gru is not one",
        {"cells": ("gru",), "cell": "mingru", "drivers": ("associative",)},
    ),
    (throughput, "--device gpu", {"device": "gpu", "peers": ("none",)}),
    *((throughput, f"--{f} needs", {f: ()}) for f in ("drivers", "passes", "lengths", "peers")),
    (throughput, "nothing to measure", {"cells": ()}),
    (throughput, "cell must be one of", {"cell": ""}),
    (throughput, "cell must be one of .*got 'lstn'", {"cell": "lstn"}),
    *((throughput, f"--lengths must be 1 .*T = {n}", {"lengths": (28, n)}) for n in (0, -1, HUGE)),
    (throughput, "GiB of memory", {"lengths": (10**9,)}),
    *(
        (throughput, f"--{name.replace('_', '-')} must be", {name: n})
        for name in ("batch_size", "input_size", "hidden_size", "repeats", "steps")
        for n in (0, -1, HUGE)
    ),
    (throughput, "--points must be 1 .*H = 0", {"points": ("1,2,3,0",)}),
    (throughput, "--points must be integers", {"points": ("1,2,3,nan",)}),
    (throughput, "--points must be integers", {"points": ("",)}),
    (throughput, "got 'tensorflow'", {"peers": ("linen", "tensorflow")}),
    (throughput, "/nowhere is not an executable program", {"peer_python": ("torch=/nowhere",)}),
    (throughput, "--peer-python must be", {"peer_python": ("=x",)}),
    (throughput, "--devices must be at least 0", {"devices": -1}),
    (throughput, "cannot be split over --devices 3", {"devices": 3}),
    (throughput, "cannot be split over --devices 3", {"devices": 3, "job": "mnist"}),
    (throughput, "--job measures", {"job": "mnist", "drivers": ("remat",)}),
    (throughput, "s3://b is a URL", {"data_dir": Path("s3://b")}),
    (throughput, "--profile /dev/null/a cannot be created", {"profile": Path("/dev/null/a")}),
    (features, "--cells needs", {"cells": ()}),
    (features, "cell must be one of .*got ''", {"cells": ("lstm", "")}),
    *(
        (features, f"--{name.replace('_', '-')} must be", {name: n})
        for name in ("steps", "batch_size", "size", "repeats")
        for n in (0, -1, HUGE)
    ),
    (features, "GiB of memory", {"size": 10**6}),
    *(
        (experiment, f"--{name.replace('_', '-')} must be|a run can have .* steps", {name: n})
        for experiment in EXPERIMENTS
        for name in ("hidden_size", "steps", "window", "windows", "row_size", "examples")
        if name in experiment.Config.__dataclass_fields__
        for n in (0, -1, HUGE)
    ),
    *(
        (experiment, "--learning-rate must be", {"learning_rate": n})
        for experiment in EXPERIMENTS
        for n in (0.0, -1.0, math.nan, math.inf)
    ),
    *(
        (experiment, "gs://b is a URL", {"data_dir": Path("gs://b")})
        for experiment in (mnist_lstm, mnist_generate)
    ),
    *((char_lm, "--sample-length must be", {"sample_length": n}) for n in (0, -1, HUGE)),
    *((char_lm, "--temperature must be", {"temperature": n}) for n in (-1.0, math.nan, math.inf)),
    (char_lm, "https://a.org/b is a URL", {"text": Path("https://a.org/b")}),
    *((mnist_lstm, "--forget-bias must be", {"forget_bias": n}) for n in (math.nan, -math.inf)),
    *(
        (gradient_flossing, "there is nothing to train; give --tasks", {name: ()})
        for name in ("tasks", "delays", "methods")
    ),
    *((gradient_flossing, "--delays must be 2 to", {"delays": (10, n)}) for n in (-1, 1, HUGE)),
    (gradient_flossing, "--floss-exponents must be at most --hidden", {"hidden_size": 74}),
    *(
        (gradient_flossing, f"--{name.replace('_', '-')} must be", {name: n})
        for name in ("floss_rate", "penalty", "criterion")
        for n in (-1.0, math.nan, math.inf)
    ),
    (gradient_flossing, "cannot be read as rows", {"replot": True}),
    (sequence_classification, "--data-dir is for data sets of the arch", {"data_dir": Path("a")}),
    *((speech_digits, "--dropout must be", {"dropout": n}) for n in (-0.1, 1.0, math.nan)),
    *(
        (speech_digits, f"--{name.replace('_', '-')} must be at least 1", {name: 0})
        for name in ("num_layers", "stride", "utterances", "test_strings", "beam")
    ),
    (speech_digits, "there is no folder or archive nowhere; pass", {"data_dir": Path("nowhere")}),
    (mnist_lstm, "--projection-size must be", {"projection_size": -1}),
    *(
        (mnist_generate, f"--{name} must be", {name: n})
        for name in ("temperature", "guidance", "unlabelled")
        for n in (-1.0, math.nan, math.inf)
    ),
]


@pytest.mark.parametrize(
    "script, sentence, flags",
    [
        pytest.param(*row, id=f"{row[0].__name__}-{'-'.join(row[2])}-{n}")
        for n, row in enumerate(TABLE)
    ],
)
def test_an_invalid_flag_is_one_sentence(script, sentence, flags, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=sentence) as error:
        script.main(script.Config(**{"out_dir": out} | flags))
    assert "\n" not in str(error.value)
    assert not out.exists()
