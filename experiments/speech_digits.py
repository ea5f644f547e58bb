"""Recognize spoken digits: CTC on strings of unknown length, or one digit per recording."""

import dataclasses
from pathlib import Path

from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, Schedule, TrainConfig, own_options_first
from rnn_jax.training.commands.ranges import Count, NonNegative, Positive, Share, Size

VERDICT = "{digit_error_rate:.2%} of digits wrong, {strings_right:.2%} of strings without a mistake"


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, TrainConfig):
    """Train a stacked bidirectional LSTM with CTC on strings of 1 to 7 spoken digits.

    A string concatenates recordings of one speaker of the Free Spoken Digit Dataset, with pauses.
    Training strings vary in speed, gain and noise. Recordings 0 to 4 of each digit are for testing.
    The default run takes about two minutes on one CPU core.
    """

    data_dir: Path | None = None
    """Folder or archive of recordings {digit}_{speaker}_{index}.wav; by default, TFDS's archive."""
    single: bool = False
    """Classify recordings of one digit by the mean of the scores over time."""
    held_out: str = ""
    """Name of the speaker to test on; the others are for training."""
    equalizer: NonNegative = 0.0
    """Standard deviation of a random gain per frequency in training [dB]; for unseen speakers."""
    one_way: bool = False
    """Read forward only, to recognize audio as it arrives."""
    hidden_size: Size = 80
    """Hidden units of the cell, in each direction of each layer."""
    num_layers: Count = 2
    """Number of recurrent layers."""
    stride: Count = 3
    """Number of 10 ms frames that are stacked into the input of one step."""
    dropout: Share = 0.3
    """Dropout rate between layers."""
    utterances: Count = 4000
    """Number of training strings, or of recordings for --single."""
    test_strings: Count = 100
    """Number of test strings of each speaker; --single tests each recording once."""
    beam: Count = 8
    """Number of prefixes to keep in prefix beam search."""
    steps: Count = 600
    """Number of training steps."""
    batch_size: Count = 32
    learning_rate: Positive = 4e-3
    schedule: Schedule = "warmup-cosine"
    clip_norm: NonNegative = 1.0
    log_every: Count = 50
    out_dir: Path = Path("runs/speech_digits")


def main(config: Config) -> dict:
    """Train, recognize the test set, write the results, and return the summary."""
    config.check()
    from rnn_jax.datasets import utterances

    heard, unheard = utterances.load_split(config.data_dir, config.held_out)
    from rnn_jax import training
    from rnn_jax.models.speech import build_ctc_model
    from rnn_jax.plotting import speech
    from rnn_jax.training import transcription

    with training.open_run(config) as run:
        # Data
        longest = 1 if config.single else 7
        amounts = config.utterances, longest, config.equalizer
        both = not config.one_way  # The mean of a stream is not known in advance.
        train = utterances.training_set(heard, config.seed, *amounts, normalize=both)
        test, speakers = utterances.test_set(unheard, config.test_strings, longest, normalize=both)
        order = training.BucketOrder(config.seed, tuple(train.lengths.tolist()), config.batch_size)

        # Model
        name = f"{len(heard.samples):,} spoken digits; {len(unheard.samples):,} others held out"
        facts = utterances.statistics(train) | {"bidirectional": both, "normalize": both}
        facts |= {"data": (train, test), "source": name}
        create = run.describe(build_ctc_model, num_labels=utterances.DIGITS, **facts)

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed)
        loss = make_loss(train.buckets(), config.stride, config.single)
        step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_step_limit)

        # Training
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        logits_of = trainer.compile_predict(graphdef, transcription.scores, state, test[:2])
        state = trainer.train(state, train)

        # Evaluation
        logits, steps = logits_of(state), test.lengths // config.stride
        compared = test.strings(), speakers, 0 if config.single else config.beam
        made, results = transcription.recognize(logits, steps, *compared)
        summary = trainer.summarize(state, **results)

        # Figures
        if run.writes:
            run.save_figures(speech.figures(summary, trainer.rows, test, logits, made))
        return trainer.finish(summary)


def make_loss(sizes, stride, single):
    """Make a function for the loss of a batch [nats per digit] and its digit error rate."""
    from rnn_jax.training import transcription

    measure = transcription.single_label_loss if single else transcription.ctc_loss

    def loss(model, batch, keys):
        xs, lengths, labels, counts = batch

        def of_frames(xs):
            logits = transcription.scores(model, (xs, lengths), keys[0])
            return measure(logits, lengths // stride, labels, counts)

        value, errors = transcription.at_length(of_frames, xs, lengths, sizes)
        return value, {"batch_error_rate": errors}

    return loss


if __name__ == "__main__":
    run(main, Config)
