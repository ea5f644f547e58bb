"""Text sampled by the trained language model of a run."""

from pathlib import Path
from typing import cast

import jax

from rnn_jax.datasets.text import encode
from rnn_jax.models.char_lm import continue_text
from rnn_jax.models.sequence import SequenceModel
from rnn_jax.training.runs.saved_runs import load_run


def sample_text(
    path: str | Path,
    prompt: str,
    length: int,
    temperature: float,
    seed: int,
    *,
    trust_modules: bool = False,
) -> str:
    """Sample from the newest checkpoint of a run of char_lm.py.

    Args:
      path: the folder of the run.
      prompt: the first characters of the text; it may be empty.
      length: the number of characters that follow.
      temperature: at least 0; see `sample_logits`.
      seed: the seed of the sample.
      trust_modules: see `load_run`.

    Returns:
      The prompt and the characters that follow.

    Raises:
      InputError: there is no such run, or the prompt has a character that the run has not seen.
    """
    model, settings = load_run(path, experiment="char_lm", trust_modules=trust_modules)
    vocabulary = settings["vocabulary"]
    key, ids = jax.random.key(seed), encode(prompt, vocabulary)
    following = continue_text(cast(SequenceModel, model), key, ids, length, temperature)
    return prompt + "".join(vocabulary[i] for i in following.tolist())
