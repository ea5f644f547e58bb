"""An experiment from its flags to its figures: all that every one of them does in the same way.

The file of an experiment imports this room, and JAX, once its flags are known to be good: `--help`
stays immediate, and the number of devices is set before JAX starts.
"""

import contextlib
import dataclasses
import io
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx
from jax.sharding import Mesh
from matplotlib.figure import Figure

from rnn_jax.files import printable
from rnn_jax.numerics import clip_by_global_norm
from rnn_jax.plotting import style
from rnn_jax.training import step
from rnn_jax.training.batches import Order
from rnn_jax.training.commands.config import TrainConfig
from rnn_jax.training.commands.output import guarded
from rnn_jax.training.devices import agreement, sharding
from rnn_jax.training.intervals import call_indices, compile_timed
from rnn_jax.training.runs import records, run_dir, saved_runs
from rnn_jax.training.runs.metrics import METRICS
from rnn_jax.training.runs.provenance import provenance
from rnn_jax.training.runs.run_dir import RunDir
from rnn_jax.training.trainer import Loop
from rnn_jax.typing import Data, Memory


class Result(NamedTuple):
    """What a run has come to, for its figures.

    Attributes:
      model: as it was trained.
      outputs: what `predict` made of the test data, NumPy arrays.
      rows: those of metrics.jsonl.
      summary: all that summary.json will hold.
    """

    model: nnx.Module
    outputs: Data
    rows: list[dict]
    summary: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """What there is to train, on what, and what is to be found out.

    Attributes:
      build: the model, newly drawn, from the settings of a run; what `load_run` takes as well.
      facts: what belongs to the settings beside the flags, such as input_size.
      source: where the data come from, in words.
      loss: the loss function, see `rnn_jax.training.step.Loss`.
      data: a pytree of arrays [N, ...] to train on.
      order: which of its examples each step sees.
      counts: what else an example counts as in the summary, e.g. {"characters": 64}.
      memory: what the first step finds as its memory, see `rnn_jax.training.step.TrainState`.
      predict: what the trained model is asked, see `make_predict`.
      test_data: a pytree of arrays [N, ...] to ask it on.
      evaluate: numbers for the summary, from the outputs of `predict` as NumPy arrays.
      verdict: what is printed of the summary, e.g. "accuracy {test_accuracy:.4f}".
      draw: the figures of a run, by the names of their files.
      live: such figures of the model so far, from it and its last row, drawn while it trains.
    """

    build: Callable[[Mapping], nnx.Module]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    source: str
    loss: step.Loss
    data: Data
    order: Order
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    memory: Memory = ()
    predict: Callable[[nnx.Module, Data], Data]
    test_data: Data
    evaluate: Callable[[Data], dict[str, float]]
    verdict: str
    draw: Callable[[Result], dict[str, Figure]]
    live: Callable[[nnx.Module, dict], dict[str, Figure]] | None = None


def perform(config: TrainConfig, prepare: Callable[..., Experiment]) -> dict[str, Any]:
    """Run the experiment that `prepare(config)` makes, in a folder of its own; its summary."""
    with guarded(), opened(config) as (config, devices, out):
        return conduct(config, prepare(config), devices, out)


@contextlib.contextmanager
def opened(config: TrainConfig) -> Iterator[tuple[TrainConfig, Mesh, RunDir]]:
    """The devices and the folder of a command, and its config with that folder in it.

    Within, only the first process of a run prints, and the loss of another one is a RunError.
    """
    sharding.start_devices(
        config.devices,
        config.coordinator,
        config.num_processes,
        config.process_id,
        config.start_timeout,
    )
    with sharding.all_present():
        agreement.check_settings(dataclasses.asdict(config))
    devices = sharding.data_mesh(config.batch_size, config.devices)
    with (
        sharding.all_present(),
        run_dir.claim(config.out_dir, type(config).out_dir, config.resume) as out,
        contextlib.redirect_stdout(sys.stdout if out.writes else io.StringIO()),
    ):
        if config.resume:
            agreement.check_folder(out.path)
        yield dataclasses.replace(config, out_dir=out.path), devices, out


def conduct(
    config: TrainConfig, experiment: Experiment, devices: Mesh, out: RunDir
) -> dict[str, Any]:
    """Train, evaluate, draw, write all of it to `out`, and return the summary.

    Raises:
      InputError, RunError, Stopped: see `Loop`.
    """
    settings = dataclasses.asdict(config) | dict(experiment.facts)
    settings["experiment"] = type(config).out_dir.name
    facts = provenance() | {"device_count": devices.size, "data_source": experiment.source}
    _print_start(config, facts)
    agreement.check_data((experiment.data, experiment.test_data))
    training = Loop(out, config, settings, config.steps)
    if summary := training.finished():
        print(f"finished {experiment.verdict.format(**summary)}; nothing is left to do")
        return summary

    optimizer = optax.adam(training.learning_rate)
    if config.clip_norm:
        optimizer = optax.chain(clip_by_global_norm(config.clip_norm), optimizer)
    graphdef, state = step.init_state(
        lambda: experiment.build(settings), optimizer, devices, config.seed, experiment.memory
    )
    state = training.start(state, devices)
    data, test_data = jax.device_put(
        (experiment.data, experiment.test_data), sharding.replicated(devices)
    )
    gradient, order = step.make_gradient(graphdef, experiment.loss), experiment.order
    interval, interval_seconds = compile_timed(
        step.make_train_interval(gradient, optimizer, devices, config.bad_steps_allowed),
        *(state, data, call_indices(order, 0, 1, config.log_every), 0),
    )
    predict, predict_seconds = compile_timed(
        step.make_predict(graphdef, experiment.predict, devices), state.params, test_data
    )

    def model_of(params):
        return nnx.merge(graphdef, jax.device_put(jax.device_get(params)))

    def live(state, row):
        _save(experiment.live(model_of(state.params), row), out)

    shown = live if experiment.live and out.writes else None
    state = training.train(interval, gradient, state, data, order, shown)
    params, outputs = jax.device_get((state.params, predict(state.params, test_data)))
    counts = {
        name: config.steps * config.batch_size * number
        for name, number in {"examples": 1, **experiment.counts}.items()
    }
    summary = {
        **experiment.evaluate(outputs),
        "steps": config.steps,
        **counts,
        "skipped_steps": int(state.skipped),
        "train_seconds": training.seconds,
        "compile_seconds": interval_seconds + predict_seconds,
        "step_ms": 1e3 * training.seconds / config.steps,
        **{f"{name}_per_second": count / training.seconds for name, count in counts.items()},
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
    }
    summary = summary | saved_runs.deciding(settings) | summary | facts
    written = ["config.json", METRICS, saved_runs.CHECKPOINTS, "summary.json"]
    if out.writes:
        figures = experiment.draw(Result(model_of(params), outputs, training.rows, summary))
        _save(figures, out)
        written += figures
    summary = records.write_summary(out, summary)
    _print_end(experiment.verdict, summary)
    for name in written:
        print(f"wrote    {printable(out.path / name)}")
    return summary


def _save(figures, out):
    for name, figure in figures.items():
        with run_dir.writing(out.path / name) as path:
            style.save(figure, path)


def _print_start(config, facts):
    settings = dataclasses.asdict(config).items()
    shown = "  ".join(f"{name}={printable(value)}" for name, value in settings)
    print(textwrap.fill(f"config   {shown}", 100, subsequent_indent=" " * 9))
    print("device   {device_count} x {device}, jax {jax}, Python {python}".format(**facts))
    print(f"data     {printable(facts['data_source'])}")


def _print_end(verdict, summary):
    print(
        f"test     {verdict}\n"
        "time     compiling {compile_seconds:.1f} s, training {train_seconds:.1f} s: "
        "{step_ms:.2f} ms a step, {examples_per_second:,.0f} examples/s".format(**summary)
    )
