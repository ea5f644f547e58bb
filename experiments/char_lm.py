"""Train a character-level language model on a text and sample from it."""

import dataclasses
from pathlib import Path
from typing import Annotated

from rnn_jax.files import printable
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, TrainConfig, own_options_first
from rnn_jax.training.commands.ranges import Count, NonNegative, Positive, Range, Size

VERDICT = (
    "{test_bits:.3f} bits per character of the held-out text, whose unigram entropy is "
    "{unigram_bits:.3f} and bigram entropy {bigram_bits:.3f}"
)


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, TrainConfig):
    """Train a character-level language model, evaluate it on held-out text, and sample from it.

    The first nine tenths of the text are split into one stream per example of a batch, and the
    streams into windows. The state carries over from window to window; the gradient does not. The
    last tenth, at most 1,000,000 characters, is held out and read as one stream. The default run
    takes about 30 seconds on two CPU cores.
    """

    text: Path | None = None
    """UTF-8 text file; by default, source code of the Python standard library."""
    window: Size = 64
    """Length of a window [characters], over which gradients are backpropagated."""
    steps: Count = 2000
    """Number of training steps, each on one window of every stream."""
    sample_length: Annotated[int, Range(at_least=1, at_most=10**7)] = 1000
    """Number of characters to sample after training; a finished run samples again on --resume."""
    temperature: NonNegative = 0.7
    """Sampling temperature: 1 for the model distribution, 0 for the most likely character."""
    prompt: str = ""
    """First characters of the sample."""
    learning_rate: Positive = 1e-2
    clip_norm: NonNegative = 1.0
    batch_size: Count = 32
    """Number of streams, over all devices together."""
    out_dir: Path = Path("runs/char_lm")


def main(config: Config) -> dict:
    """Train, evaluate on the held-out text, write results and a sample; return the summary."""
    config.check()
    from rnn_jax import training
    from rnn_jax.training.runs.text_sampler import sample_text

    with training.open_run(config) as run, run.out.scratch("text_ids.npy") as ids_file:
        summary = train(config, run, ids_file if config.data_in == "stream" else None)
        if run.writes:
            options = config.sample_length, config.temperature, config.seed
            # The cell was given on the command line, so its module may be imported.
            sample = sample_text(run.out.path, config.prompt, *options, trust_modules=True)
            print(f"\n{sample}\n\nwrote    {run.out.write_text('samples.txt', sample)}")
    return summary


def train(config: Config, run, ids_file: Path | None) -> dict:
    """Train in the folder of a run, evaluate, and return the summary."""
    from rnn_jax import training
    from rnn_jax.cells.registry import find_cell
    from rnn_jax.datasets import text
    from rnn_jax.datasets.text_windows import Windows
    from rnn_jax.models import char_lm
    from rnn_jax.models.factory import build_sequence_model

    # Data
    ids, vocabulary, digest = text.load_text(config.text, ids_file)
    text.encode(config.prompt, vocabulary)
    known, held_out = text.hold_out(ids)
    windows = Windows(known, config.batch_size, config.window)
    test = text.shift_right(held_out[None]), held_out[None]
    order = training.StreamOrder(windows.per_stream, config.batch_size)

    # Model
    name = printable(config.text.name) if config.text else "Python source"
    source = f"{name}, {len(ids):,} characters, SHA-256 {digest}"
    sizes = {"input_size": len(vocabulary), "output_size": len(vocabulary)}
    facts = {"text_sha256": digest, **sizes, "vocabulary": vocabulary}
    create = run.describe(build_sequence_model, data=(windows, test), source=source, **facts)
    carry = find_cell(config.cell, config.hidden_size).initial_carry((config.batch_size,))

    # Loss, optimizer and training step
    loss = char_lm.next_character_loss
    optimizer = training.make_optimizer(config, config.steps)
    graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed, carry)
    step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_step_limit)

    # Training
    trainer = training.Trainer(run, step, order, config.steps, VERDICT)
    if trainer.summary is not None:
        return trainer.summary
    predict = trainer.compile_predict(graphdef, char_lm.character_bits, state, test)
    state = trainer.train(state, windows)

    # Evaluation
    bits = predict(state)
    results = {"test_bits": float(bits.mean(dtype=float)), "test_characters": len(held_out)}
    results |= text.entropies(held_out)
    summary = trainer.summarize(state, {"characters": config.window}, **results)

    # Figures
    if run.writes:
        run.save_figures(figures(name, summary, trainer.rows, held_out, vocabulary, bits[0]))
    return trainer.finish(summary)


def figures(name, summary, rows, held_out, vocabulary, bits):
    """The training curve, and a page of the held-out text colored by the bits of each character."""
    from rnn_jax.plotting.text import bits_figure, character_bits_figure

    title = f"{summary['cell'].upper()}-{summary['hidden_size']} on {name}, seed {summary['seed']}"
    text = "".join(vocabulary[i] for i in held_out.tolist())
    with_bits = f"{title}: {summary['test_bits']:.2f} bits per character"
    return {
        "training.png": bits_figure(rows, summary, title),
        "character_bits.png": character_bits_figure(text, bits, with_bits),
    }


if __name__ == "__main__":
    run(main, Config)
