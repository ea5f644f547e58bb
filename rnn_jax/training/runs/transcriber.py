"""Transcription of WAV files of any length by the trained network of a run."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from rnn_jax.datasets.log_mel import BANDS, HOP, RATE, WINDOW, log_mel_blocks, normalized
from rnn_jax.datasets.wav import WavReader
from rnn_jax.errors import InputError
from rnn_jax.models.ctc import BLANK, collapse
from rnn_jax.models.speech import CTCModel
from rnn_jax.training.runs.saved_runs import load_run

SECONDS = 0.3
"""Audio that a unidirectional network reads at once [s], which delays the digits."""
SILENCE = 0.2
"""Silence before and after the audio [s], as in the training strings; none for single digits."""
SHORTEST = 512
"""Minimum number of frames of a bidirectional network, with padding; above it, powers of two."""


class Transcriber:
    """A network of speech_digits.py that transcribes the digits in audio of any length.

    Audio is clipped to -1 to 1, padded with silence, and resampled to 8 kHz. The digits are those
    of the most probable path, as in `greedy_decode`. A unidirectional network reads blocks and
    keeps its carry, in constant memory; a bidirectional network reads the whole audio at once.

    Args:
      model: the network; its labels are the digits plus 1.
      one_way: the network reads forward only.
      single: the network classifies the one digit of a recording by the mean of its scores.
      normalize: the network reads `normalized` features; not for a unidirectional network.
    """

    def __init__(
        self, model: CTCModel, *, one_way: bool, single: bool = False, normalize: bool = False
    ):
        self.one_way, self.single, self.stride = one_way, single, model.stride
        self.normalize = normalize
        self._carry = None
        if one_way:
            layers = model.rnn.layers
            self._carry = tuple(each.cell.start(each.weights(), (1,)) for each in layers)
        self._model = jax.jit(lambda xs, carry, lengths: model(xs, carry, lengths=lengths))

    def digits(self, sound: WavReader, seconds: float = SECONDS) -> Iterator[int]:
        """Yield the digits of an open WAV file as soon as they are known.

        Args:
          sound: the file; see `open_wav`.
          seconds: the duration that a unidirectional network reads at once; the digits do not
            depend on it.

        Raises:
          InputError: the file has less audio than one step of the network needs, or samples that
            are NaN or infinite.
        """
        before, total = BLANK, np.zeros(())
        for logits in self.scores(sound, seconds):
            if self.single:
                total = total + logits.sum(0)
                continue
            path = logits.argmax(-1)
            yield from (label - 1 for label in collapse(path, before))
            before = int(path[-1])
        if self.single:
            yield int(total[1:].argmax())  # Without the blank.

    def scores(self, sound: WavReader, seconds: float = SECONDS) -> Iterator[np.ndarray]:
        """Yield the scores of the blank and the digits of successive steps, [S, 11].

        The arguments are those of `digits`.
        """
        features = log_mel_blocks(self._blocks(sound, seconds), sound.rate)
        if self.one_way:
            size = max(1, round(seconds * RATE / HOP / self.stride)) * self.stride
            pieces = _pieces(features, size)
        else:
            whole = np.concatenate([np.zeros((0, BANDS), np.float32), *features])
            whole = normalized(whole) if self.normalize else whole
            size = max(SHORTEST, 1 << (len(whole) - 1).bit_length())
            pieces = _pieces([whole], size)
        carry = self._carry
        for xs, length in pieces:
            carry, logits = self._model(xs[:, None], carry, jnp.array([length]))
            if length >= self.stride:
                yield np.asarray(logits)[: length // self.stride, 0]

    def _blocks(self, sound, seconds):
        """Yield the clipped samples of a file, with silence before and after."""
        silence = np.zeros(0 if self.single else round(SILENCE * sound.rate), np.float32)
        least, count = (WINDOW + HOP * (self.stride - 1)) / RATE, 0
        yield silence
        for samples in sound.blocks(max(1, round(seconds * sound.rate))):
            yield np.clip(samples, -1, 1)
            count += len(samples)
        if count < least * sound.rate:
            raise InputError(f"{sound.name} has less than {least:.3f} s of sound; record again.")
        yield silence


def load_transcriber(path: str | Path, *, trust_modules: bool = False) -> Transcriber:
    """Load a run of speech_digits.py as a `Transcriber`.

    Args:
      path: the folder of the run.
      trust_modules: see `load_run`.

    Raises:
      InputError: there is no such run; see `load_run`.
    """
    model, settings = load_run(path, experiment="speech_digits", trust_modules=trust_modules)
    return Transcriber(
        cast(CTCModel, model),
        one_way=not settings["bidirectional"],
        single=settings["single"],
        normalize=settings.get("normalize", False),  # Not in runs of earlier versions.
    )


def _pieces(
    blocks: Iterable[Float[np.ndarray, "_ D"]], size: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Divide features into pieces of equal size; yield each with its number of valid frames."""
    pending = np.zeros((0, BANDS), np.float32)
    for block in blocks:
        pending = np.concatenate([pending, block])
        while len(pending) >= size:
            yield pending[:size], size
            pending = pending[size:]
    if len(pending):
        yield np.pad(pending, [(0, size - len(pending)), (0, 0)]), len(pending)
