"""Train a character-level language model on a text and sample from it."""

import dataclasses
import functools
from pathlib import Path

from rnn_jax.files import local_path, printable
from rnn_jax.training.commands.cli import check_at_least, check_at_most, check_finite, run
from rnn_jax.training.commands.config import TrainConfig, own_options_first

HELD_OUT = 0.1
"""Fraction of the text, at its end, that is held out."""
VERDICT = (
    "{test_bits:.3f} bits per character of the held-out text, whose unigram entropy is "
    "{unigram_bits:.3f} and bigram entropy {bigram_bits:.3f}"
)
SHOWN = 100_000
"""Most characters of the held-out text that are used for the figure."""


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Train a character-level language model, evaluate it on held-out text, and sample from it.

    The first nine tenths of the text are split into one stream per example of a batch, and the
    streams into windows. The state carries over from window to window, the gradient does not. The
    last tenth is held out and read as one stream. The default run takes about 30 seconds on two CPU
    cores.
    """

    text: Path | None = None
    """UTF-8 text file; by default source code of the Python standard library."""
    cell: str = "lstm"
    """Recurrent cell: a name in rnn_jax.CELLS, or my_module:MyCell."""
    hidden_size: int = 128
    """Hidden units of the cell."""
    window: int = 64
    """Length of a window [characters], through which the gradient is backpropagated."""
    steps: int = 2000
    """Number of training steps, each on one window of every stream."""
    sample_length: int = 1000
    """Characters to sample after training; a finished run samples again on --resume."""
    temperature: float = 0.7
    """Sampling temperature: 1 for the model distribution, 0 for the most likely character."""
    prompt: str = ""
    """First characters of the sample."""
    learning_rate: float = 1e-2
    """Learning rate; the highest one of a schedule."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient, which is scaled down to it; 0 for no limit."""
    batch_size: int = 32
    """Number of streams, over all devices together."""
    out_dir: Path = Path("runs/char_lm")
    """Folder for results; if the default one holds a run, the next free one: -2, -3, ..."""

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
    from rnn_jax import training

    with training.open_run(config) as run:
        summary = train(config, run)
        if run.writes:
            sample = write(run.out.path, config)
            print(f"\n{sample}\n\nwrote    {run.out.write_text('samples.txt', sample)}")
    return summary


def train(config: Config, run) -> dict:
    """Train in the folder of a run, evaluate, and return the summary."""
    from rnn_jax import training
    from rnn_jax.cells.registry import find_cell
    from rnn_jax.datasets import text
    from rnn_jax.models import char_lm
    from rnn_jax.models.factory import build_sequence_model

    # Data
    ids, vocabulary, digest = text.load_text(config.text)
    text.encode(config.prompt, vocabulary)
    kept = len(ids) - max(1, round(HELD_OUT * len(ids)))
    held_out = ids[kept:]
    windows = text.windows(ids[:kept], config.batch_size, config.window)
    test = text.shift_right(held_out[None]), held_out[None]
    order = training.StreamOrder(len(windows[0]) // config.batch_size, config.batch_size)

    # Model
    name = printable(config.text.name) if config.text else "Python source"
    source = f"{name}, {len(ids):,} characters, SHA-256 {digest}"
    sizes = dict.fromkeys(("input_size", "output_size"), len(vocabulary))
    facts = {"text_sha256": digest, **sizes, "vocabulary": vocabulary}
    settings = run.describe(build_sequence_model, data=(windows, test), source=source, **facts)
    create = functools.partial(build_sequence_model, settings)
    carry = find_cell(config.cell, config.hidden_size).initial_carry((config.batch_size,))

    # Loss, optimizer and training step
    loss, steps = char_lm.next_character_loss, config.steps
    optimizer = training.make_optimizer(config, steps)
    graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed, carry)
    step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_steps_allowed)

    # Training
    trainer = training.Trainer(run, step, order, steps, VERDICT)
    if trainer.summary is not None:
        return trainer.summary
    predict = trainer.compile_predict(graphdef, char_lm.character_bits, state, test)
    state = trainer.train(state, windows)

    # Evaluation
    bits = predict(state)
    summary = trainer.summarize(
        state,
        {"characters": config.window},
        test_bits=float(bits.mean(dtype=float)),
        unigram_bits=text.unigram_bits(held_out),
        bigram_bits=text.bigram_bits(held_out),
        test_characters=len(held_out),
    )

    # Figures
    if run.writes:
        run.save_figures(figures(name, summary, trainer.rows, held_out, vocabulary, bits[0]))
    return trainer.finish(summary)


def write(run_dir: Path, config: Config) -> str:
    """Sample from the newest checkpoint of a run: the prompt, and `sample_length` characters."""
    import jax

    from rnn_jax import load_run
    from rnn_jax.datasets.text import encode
    from rnn_jax.models import char_lm

    # The cell is the one of the command line.
    model, settings = load_run(run_dir, experiment="char_lm", trust_modules=True)
    key, prompt = jax.random.key(config.seed), encode(config.prompt, settings["vocabulary"])
    ids = char_lm.continue_text(model, key, prompt, config.sample_length, config.temperature)
    return config.prompt + "".join(settings["vocabulary"][i] for i in ids.tolist())


def figures(name, summary, rows, held_out, vocabulary, bits):
    """The training curve, and a page of the held-out text colored by the bits of each character."""
    from rnn_jax.plotting.text import bits_figure, character_bits_figure

    title = f"{summary['cell'].upper()}-{summary['hidden_size']} on {name}, seed {summary['seed']}"
    # The figure shows a page from the middle.
    middle = slice(max(0, len(held_out) // 2 - SHOWN // 2), len(held_out) // 2 + SHOWN // 2)
    shown = "".join(vocabulary[i] for i in held_out[middle].tolist())
    verdict = f"{title}: {summary['test_bits']:.2f} bits per character"
    return {
        "training.png": bits_figure(rows, summary, title),
        "surprise.png": character_bits_figure(shown, bits[middle], verdict),
    }


if __name__ == "__main__":
    run(main, Config)
