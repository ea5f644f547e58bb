"""Classify MNIST digits by reading them row by row with an LSTM."""

import contextlib
import dataclasses
import functools
import io
import math
import sys
import textwrap
from pathlib import Path
from typing import Literal

from rnn_jax.cli import check_at_least, run
from rnn_jax.config import TrainConfig
from rnn_jax.errors import InputError

BUNDLED = Path(__file__).parent / "mnist_files"
GATES = {
    "lstm": {"i": "write (i)", "f": "keep (f)", "o": "read (o)"},
    "gru": {"r": "reset (r)", "z": "keep (z)"},
    "rnn": {},
}
"""The gates of each cell that the figure shows, and what they do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Classify images of digits by reading each as a sequence, row by row, with an LSTM."""

    cell: Literal["lstm", "rnn", "gru"] = "lstm"
    """The recurrent cell."""
    hidden_size: int = 128
    """Hidden units of the cell."""
    projection_size: int = 128
    """Width of the linear layer between the pixels and the cell; 0 leaves it out."""
    forget_bias: float = 1.0
    """Where the LSTM's forget bias starts."""
    examples: int = 100_000
    """Training examples to see in all; 60,000 are one epoch of MNIST."""
    sequence: Literal["rows", "pixels", "permuted-pixels"] = "rows"
    """28 steps of 28 pixels, 784 steps of 1 pixel, or those in one fixed random order."""
    readout: Literal["carry", "outputs"] = "carry"
    """What the output layer sees: the final carry's h, or the output of the last step."""
    dataset: str = "mnist"
    """A TFDS set of 28x28 single-channel images with labels, e.g. fashion_mnist or kmnist."""
    data_dir: Path | None = None
    """Where TFDS keeps its data; by default TFDS's own folder."""
    out_dir: Path = Path("runs/mnist_lstm")
    """Folder for results; where the default holds a run, the next free one: -2, -3, ..."""

    @property
    def steps(self) -> int:
        """Training steps: enough whole batches for all examples."""
        return math.ceil(self.examples / self.batch_size)


def main(config: Config) -> dict:
    """Train, evaluate on the test set, write the results, and return the summary."""
    _check(config)
    # JAX is imported once the arguments are known to be good: `--help` stays immediate, and the
    # number of devices is set before JAX starts.
    from rnn_jax import mesh, rundir

    processes = (config.coordinator, config.num_processes, config.process_id)
    mesh.start_devices(config.devices, *processes)
    devices = mesh.data_mesh(config.batch_size, config.devices)
    with mesh.all_present():
        folder = rundir.choose_folder(config.out_dir, Config.out_dir, config.resume)
        out = rundir.RunDir(folder)
        with contextlib.redirect_stdout(sys.stdout if out.writes else io.StringIO()):
            return _run(config, devices, out)


def _run(config, devices, out):
    import jax
    import optax
    from flax import nnx

    from rnn_jax import batches, fit, loop, mesh, numerics, runs, train

    images, xs, test_xs = _load(config)
    order = batches.BatchOrder(config.seed, len(xs), config.batch_size)
    settings = dataclasses.asdict(config)
    settings |= {"input_size": xs.shape[-1], "num_classes": images.num_classes}
    settings["out_dir"] = out.path
    facts = runs.environment() | {"device_count": devices.size, "data_source": images.source}
    _print_start(settings, facts)
    training = loop.Loop(out, config, settings, config.steps)
    if summary := training.finished():
        print("finished test accuracy {test_accuracy:.4f}; nothing is left to do".format(**summary))
        return summary

    create = functools.partial(runs.build_classifier, settings)
    optimizer = optax.adam(config.learning_rate)
    if config.clip_norm:
        optimizer = optax.chain(numerics.clip_by_global_norm(config.clip_norm), optimizer)
    graphdef, state = train.init_state(create, optimizer, devices, config.seed)
    state = training.start(state, devices)
    arrays = (xs, images.train_labels, test_xs, images.test_labels)
    xs, labels, test_xs, test_labels = jax.device_put(arrays, mesh.replicated(devices))
    interval, interval_seconds = fit.compile_timed(
        train.make_train_interval(graphdef, optimizer, devices, config.bad_steps_allowed),
        *(state, xs, labels, order.indices(0, config.log_every), 0),
    )
    predict, predict_seconds = fit.compile_timed(
        train.make_predict(graphdef, devices), state.params, test_xs
    )

    state = training.train(graphdef, interval, state, xs, labels, order)
    logits = predict(state.params, test_xs)
    test_loss, test_accuracy = train.evaluate(logits, test_labels)
    summary = {
        "test_accuracy": float(test_accuracy),
        "test_loss": float(test_loss),
        "steps": config.steps,
        "examples": config.steps * config.batch_size,
        "skipped_steps": int(state.skipped),
        "train_seconds": training.seconds,
        "compile_seconds": interval_seconds + predict_seconds,
        "step_ms": 1e3 * training.seconds / config.steps,
        "examples_per_second": config.steps * config.batch_size / training.seconds,
        "cell": config.cell,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "seed": config.seed,
        **facts,
    }
    gates = {}
    if GATES[config.cell]:
        gates = nnx.merge(graphdef, state.params).gates(test_xs[0])
    if out.writes:
        digit, gates, logits = jax.device_get((test_xs[0], gates, logits))
        _draw(out, images, training.rows, summary, logits, digit, gates)
    out.write("summary.json", summary)
    _print_end(summary, out.path)
    return summary


def _check(config):
    config.check()
    check_at_least(config, hidden_size=1, examples=1, projection_size=0)
    if config.cell != "lstm" and config.forget_bias != Config.forget_bias:
        raise InputError(f"--forget-bias is for --cell lstm; --cell {config.cell} has none.")


def _load(config):
    from rnn_jax import data

    images = data.load_images(config.dataset, config.data_dir, bundled=BUNDLED)
    xs = data.to_sequences(images.train_images, config.sequence)
    test_xs = data.to_sequences(images.test_images, config.sequence)
    data.check_sequences(xs, images.train_labels, images.num_classes)
    data.check_sequences(test_xs, images.test_labels, images.num_classes)
    return images, xs, test_xs


def _print_start(settings, facts):
    shown = "  ".join(f"{name}={value}" for name, value in settings.items())
    print(textwrap.fill(f"config   {shown}", 100, subsequent_indent=" " * 9))
    print("device   {device_count} x {device}, jax {jax}, Python {python}".format(**facts))
    print(f"data     {facts['data_source']}")


def _draw(out, images, rows, summary, logits, digit, gates):
    from jax.nn import softmax

    from rnn_jax import figures, style
    from rnn_jax.rundir import writing

    title = f"{summary['cell'].upper()} on {images.name}, seed {summary['seed']}"
    training = figures.training_figure(rows, title, summary["test_accuracy"])
    with writing(out.path / "training.png") as path:
        style.save(training, path)
    predictions = figures.predictions_figure(
        images.test_images,
        images.test_labels,
        softmax(logits, -1),
        {label: gates[name] for name, label in GATES[summary["cell"]].items()},
        digit.reshape(28, 28),
        title,
    )
    with writing(out.path / "predictions.png") as path:
        style.save(predictions, path)


def _print_end(summary, path):
    print(
        "test     accuracy {test_accuracy:.4f}, loss {test_loss:.4f}, "
        "on the test images\n"
        "time     compiling {compile_seconds:.1f} s, training {train_seconds:.1f} s: "
        "{step_ms:.2f} ms a step, {examples_per_second:,.0f} examples/s".format(**summary)
    )
    names = ("config.json", "metrics.jsonl", "checkpoints", "summary.json", "training.png")
    for name in (*names, "predictions.png"):
        print(f"wrote    {path / name}")


if __name__ == "__main__":
    run(main, Config)
