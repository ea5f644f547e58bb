"""Learn to write: a network reads a text and tells each next character."""

import dataclasses
import functools
from pathlib import Path

from rnn_jax.files import local_path, printable
from rnn_jax.training.commands.cli import check_at_least, check_at_most, check_finite, run
from rnn_jax.training.commands.config import TrainConfig

HELD_OUT = 0.1
"""The share of the text, at its end, that is not trained on."""
DRAWN = 100_000
"""Most characters of the held-out text that its figure is made from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Learn a text character by character, tell how well one can be told, and write on.

    The first nine tenths are cut into one stream for each example of a batch, and the streams into
    windows; the state goes on from window to window, the gradient does not. The last tenth is held
    out, and read as one stream.
    """

    text: Path | None = None
    """A UTF-8 text file; by default source code out of Python's own standard library."""
    cell: str = "lstm"
    """The recurrent cell, a name of rnn_jax.CELLS or my_module:MyCell."""
    hidden_size: int = 128
    """Hidden units of the cell."""
    window: int = 64
    """Characters through which a gradient goes back."""
    steps: int = 2000
    """Training steps, of one window of each stream."""
    sample_length: int = 1000
    """Characters to write after training; a finished run writes anew on --resume."""
    temperature: float = 0.7
    """How freely to write: 1 as the network says, less for likelier characters, 0 the likeliest."""
    prompt: str = ""
    """What the writing begins with."""
    learning_rate: float = 1e-2
    """Adam's learning rate."""
    clip_norm: float = 1.0
    """Scale gradients of a larger global norm down to this one; 0 leaves them."""
    batch_size: int = 32
    """Streams that are read side by side, over all devices together."""
    out_dir: Path = Path("runs/char_lm")
    """Folder for results; where the default holds a run, the next free one: -2, -3, ..."""

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        super().check()
        check_at_least(self, hidden_size=1, window=1, steps=1, sample_length=1, temperature=0)
        check_at_most(self, hidden_size=10**6, window=10**6, sample_length=10**7)
        check_finite(self, "temperature")
        if self.text:
            local_path(self.text)


def main(config: Config) -> dict:
    """Train, evaluate on the held-out text, write results and a sample; return the summary."""
    config.check()
    from rnn_jax.training.experiment import conduct, opened

    with opened(config) as (config, devices, out):
        summary = conduct(config, prepare(config), devices, out)
        if out.writes:
            sample = write(out.path, config)
            print(f"\n{sample}\n\nwrote    {out.write_text('samples.txt', sample)}")
    return summary


def prepare(config: Config):
    """The experiment that the flags describe."""
    from rnn_jax.cells.registry import find_cell
    from rnn_jax.datasets import text
    from rnn_jax.models import char_lm
    from rnn_jax.models.factory import build_sequence_model
    from rnn_jax.training.batches import StreamOrder
    from rnn_jax.training.experiment import Experiment

    ids, vocabulary, digest = text.load_text(config.text)
    text.encode(config.prompt, vocabulary)
    kept = len(ids) - max(1, round(HELD_OUT * len(ids)))
    held_out = ids[kept:]
    data = text.windows(ids[:kept], config.batch_size, config.window)
    sizes = dict.fromkeys(("input_size", "output_size"), len(vocabulary))
    name = printable(config.text.name) if config.text else "Python source"
    return Experiment(
        build=build_sequence_model,
        facts={"text_sha256": digest, **sizes, "vocabulary": vocabulary},
        source=f"{name}, {len(ids):,} characters, SHA-256 {digest}",
        loss=char_lm.next_character_loss,
        data=data,
        order=StreamOrder(len(data[0]) // config.batch_size, config.batch_size),
        counts={"characters": config.window},
        memory=find_cell(config.cell, config.hidden_size).initial_carry((config.batch_size,)),
        predict=char_lm.character_bits,
        test_data=(text.shift_right(held_out[None]), held_out[None]),
        evaluate=functools.partial(_evaluate, held_out),
        verdict="{test_bits:.3f} bits per character of the held-out text, whose unigram entropy is "
        "{unigram_bits:.3f} and bigram entropy {bigram_bits:.3f}",
        draw=functools.partial(_draw, name, held_out, vocabulary),
    )


def write(run_dir: Path, config: Config) -> str:
    """What a run writes, trained as far as it is: the prompt, and `sample_length` characters."""
    import jax

    from rnn_jax import load_run
    from rnn_jax.datasets.text import encode
    from rnn_jax.models import char_lm
    from rnn_jax.models.factory import build_sequence_model

    # The cell is the one of the command line.
    model, settings = load_run(
        run_dir, build_sequence_model, experiment="char_lm", trust_modules=True
    )
    key, prompt = jax.random.key(config.seed), encode(config.prompt, settings["vocabulary"])
    ids = char_lm.continue_text(model, key, prompt, config.sample_length, config.temperature)
    return config.prompt + "".join(settings["vocabulary"][i] for i in ids.tolist())


def _evaluate(held_out, bits):
    from rnn_jax.datasets.text import bigram_bits, unigram_bits

    return {
        "test_bits": float(bits.mean(dtype=float)),
        "unigram_bits": unigram_bits(held_out),
        "bigram_bits": bigram_bits(held_out),
        "test_characters": len(held_out),
    }


def _draw(name, held_out, vocabulary, result):
    from rnn_jax.plotting.text import bits_figure, character_bits_figure

    summary = result.summary
    title = f"{summary['cell'].upper()}-{summary['hidden_size']} on {name}, seed {summary['seed']}"
    # The figure shows a page from the middle.
    middle = slice(max(0, len(held_out) // 2 - DRAWN // 2), len(held_out) // 2 + DRAWN // 2)
    shown = "".join(vocabulary[i] for i in held_out[middle].tolist())
    verdict = f"{title}: {summary['test_bits']:.2f} bits per character"
    return {
        "training.png": bits_figure(result.rows, summary, title),
        "surprise.png": character_bits_figure(shown, result.outputs[0][middle], verdict),
    }


if __name__ == "__main__":
    run(main, Config)
