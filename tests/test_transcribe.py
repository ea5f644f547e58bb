"""transcribe.py: sound of every format and length, as a whole and as it is heard."""

import io
import wave

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import signal
from scipy.io import wavfile
from tone_recordings import tone
from transcribe import Config, main

from rnn_jax import InputError
from rnn_jax.datasets.log_mel import log_mel, normalized
from rnn_jax.datasets.wav import WavReader
from rnn_jax.models.ctc import greedy_decode
from rnn_jax.models.speech import build_ctc_model
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.run_dir import RunDir
from rnn_jax.training.runs.transcriber import SILENCE, Transcriber, load_transcriber

RATE = 8_000
TONES = np.concatenate([tone(digit, RATE) for digit in (3, 1, 4, 1, 5, 9, 2, 6)])
SOUND = (TONES + 0.1 * np.random.default_rng(0).normal(size=len(TONES))).astype(np.float32)
COARSE = np.round(127 * np.clip(SOUND, -1, 1)).astype(np.int64)
"""Samples that all formats hold exactly."""
FEATURES = log_mel(SOUND)
SETTINGS = {"cell": "gru", "hidden_size": 8, "num_layers": 2, "stride": 3, "dropout": 0.3}
SETTINGS |= {"num_labels": 10, "seed": 4}
SETTINGS |= {"experiment": "speech_digits", "model": "rnn_jax.models.speech:build_ctc_model"}


def settings(one_way, single=False, features=FEATURES):
    """The settings of a run, with inputs scaled for scores that change a lot."""
    scaling = {"feature_mean": features.mean(0).tolist()}
    scaling |= {"feature_scale": (features.std(0) / 3).tolist()}
    return SETTINGS | scaling | {"bidirectional": not one_way, "single": single}


def untrained(*args, **kwargs):
    """A network that has learned nothing, with scores that change a lot."""
    model = build_ctc_model(settings(*args, **kwargs))
    model.output.kernel[...] *= 50
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A function that returns the folder of a run of an untrained network."""

    def of(one_way, single=False):
        path = tmp_path_factory.mktemp("run")
        facts = settings(one_way, single)
        RunDir(path).write("config.json", facts)
        checkpoints = Checkpoints(path / "checkpoints")
        params = nnx.state(untrained(one_way, single), nnx.Param)
        checkpoints.save(1, {"params": params}, {"settings": facts})
        checkpoints.wait()
        return path

    return of


@pytest.fixture(scope="module")
def one_way(folder):
    return folder(one_way=True)


@pytest.fixture(scope="module")
def both_ways(folder):
    return folder(one_way=False)


def wav(samples, rate=RATE):
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def opened(content):
    return WavReader(io.BytesIO(content), "x.wav")


def scores(transcriber, content, seconds=0.3):
    return np.concatenate(list(transcriber.scores(opened(content), seconds)))


@pytest.mark.parametrize("forward, normalize", [(True, False), (False, False), (False, True)])
def test_digits_are_those_of_the_model_for_sound_between_silences(forward, normalize):
    model = untrained(forward, features=normalized(FEATURES) if normalize else FEATURES)
    transcriber = Transcriber(model, one_way=forward, normalize=normalize)
    silence = np.zeros(round(SILENCE * RATE), np.float32)
    features = log_mel(np.concatenate([silence, SOUND, silence]))
    features = normalized(features) if normalize else features
    _, logits = model(jnp.asarray(features)[:, None])
    expected = np.asarray(logits)[:, 0]
    np.testing.assert_allclose(scores(transcriber, wav(SOUND)), expected, atol=2e-3)
    (labels,) = greedy_decode(expected[None])
    assert len(labels) > 5
    assert list(transcriber.digits(opened(wav(SOUND)))) == [label - 1 for label in labels]


def test_digits_do_not_depend_on_the_blocks_that_are_read():
    transcriber = Transcriber(untrained(True), one_way=True)
    whole = list(transcriber.digits(opened(wav(SOUND)), 10.0))
    for seconds in (0.01, 0.3):
        assert list(transcriber.digits(opened(wav(SOUND)), seconds)) == whole


def test_digits_are_known_before_the_file_is_read():
    transcriber = Transcriber(untrained(True), one_way=True)
    content = wav(np.tile(SOUND, 20))
    file = io.BytesIO(content)
    next(transcriber.digits(WavReader(file, "x.wav")))
    assert file.tell() < len(content) / 10


def test_files_of_any_length_share_one_compilation(compilations):
    transcriber = Transcriber(untrained(True), one_way=True)
    list(transcriber.digits(opened(wav(SOUND))))
    before = len(compilations)
    for repeats in (1, 3):
        list(transcriber.digits(opened(wav(np.tile(SOUND, repeats)[:-700]))))
    assert len(compilations) == before


def pcm(width, channels):
    """The coarse samples as PCM of some bytes, in each channel."""
    scaled = COARSE + 128 if width == 1 else COARSE << (8 * width - 8)
    samples = scaled.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(width)
        written.setframerate(RATE)
        written.writeframes(np.tile(samples, channels).tobytes())
    return file.getvalue()


def test_bits_and_channels_do_not_matter():
    transcriber = Transcriber(untrained(True), one_way=True)
    expected = scores(transcriber, wav((COARSE / 128).astype(np.float32)))
    for width, channels in [(1, 1), (2, 2), (3, 1), (4, 2)]:
        np.testing.assert_array_equal(scores(transcriber, pcm(width, channels)), expected)


@pytest.mark.parametrize("rate", [6_000, 11_025, 44_100])
def test_sound_of_another_rate_is_resampled(rate):
    transcriber = Transcriber(untrained(True), one_way=True)
    padded = np.pad(SOUND, 400)  # The filter needs to end in the sound.
    sound = np.interp(np.arange(0, len(padded), RATE / rate), np.arange(len(padded)), padded)
    expected = signal.resample_poly(sound, RATE, rate).astype(np.float32)
    found = scores(transcriber, wav(sound.astype(np.float32), rate))
    np.testing.assert_allclose(found, scores(transcriber, wav(expected)), atol=2e-2)


@pytest.mark.parametrize("forward", [True, False])
def test_silence_and_clipping_give_finite_scores(forward):
    transcriber = Transcriber(untrained(forward), one_way=forward)
    clipped = np.clip(100 * SOUND, -1, 1)
    for sound in (np.zeros(4_000, np.float32), clipped, 1e30 * SOUND):
        assert np.isfinite(scores(transcriber, wav(sound))).all()
    loud = scores(transcriber, wav(1e30 * SOUND))
    np.testing.assert_array_equal(loud, scores(transcriber, wav(np.sign(SOUND))))


def test_a_network_for_single_digits_gives_one(folder, tmp_path, capsys):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(SOUND))
    run = folder(one_way=False, single=True)
    (text,) = main(Config(run, (path,)))
    total = scores(load_transcriber(run), wav(SOUND)).sum(0)
    assert text == str(total[1:].argmax())
    assert capsys.readouterr().out == f"{path}  {text}\n"
    with pytest.raises(InputError, match="was trained with --single"):
        main(Config(run, (path,), stream=True))


def test_streaming_prints_the_same_line(one_way, tmp_path, capsys):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(SOUND))
    (text,) = main(Config(one_way, (path,)))
    assert capsys.readouterr().out == f"{path}  {text}\n"
    assert main(Config(one_way, (path,), stream=True)) == [text]
    assert capsys.readouterr().out == f"{path}  {text}\n"


def test_streaming_needs_a_network_that_reads_forward(both_ways, tmp_path):
    with pytest.raises(InputError, match=r"--stream needs a run of .*py --one-way;") as error:
        main(Config(both_ways, (tmp_path / "x.wav",), stream=True))
    assert "\n" not in str(error.value)


def test_no_files_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="needs at least one WAV file"):
        main(Config(tmp_path, ()))


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_no_sound_does_not_stop_the_others(one_way, tmp_path, capsys, stream):
    contents = {
        "good": wav(SOUND),
        "empty": b"",
        "text": b"no sound at all",
        "header": wav(SOUND[:0]),
        "short": wav(SOUND[:300]),
        "nan": wav(np.append(SOUND, np.float32(np.nan))),
        "last": wav(SOUND),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = tuple(tmp_path / name for name in (*contents, "gone"))
    with pytest.raises(InputError, match="6 of 8 files could not be read"):
        main(Config(one_way, paths, stream=stream))
    out, err = capsys.readouterr()
    names = [line.split("  ")[0] for line in out.splitlines()]
    assert names[0] == str(paths[0]) and names[-1] == str(paths[6])
    assert len(names) == 2 + stream  # The digits before the NaN are heard.
    sentences = err.splitlines()
    assert len(sentences) == 6 and all(each.startswith("transcribe.py: ") for each in sentences)
    for number, words in enumerate(
        ("is empty", "is not a WAV", "less than 0.045 s", "less than 0.045 s", "NaN", "no file")
    ):
        assert words in sentences[number]


def test_a_single_unreadable_file_gives_one_error(one_way, tmp_path, capsys):
    with pytest.raises(InputError, match="there is no file"):
        main(Config(one_way, (tmp_path / "gone",)))
    assert capsys.readouterr() == ("", "")
