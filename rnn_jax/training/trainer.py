"""Training of a run from its first step to its last: rows, checkpoints, signals, resumption."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from flax import nnx

from rnn_jax.datasets.sources import Source
from rnn_jax.errors import InputError, RunError, Stopped
from rnn_jax.files import printable, sweep
from rnn_jax.training.bad_steps import why_bad
from rnn_jax.training.batches import Order
from rnn_jax.training.best import check_metric
from rnn_jax.training.commands.cli import resume_command
from rnn_jax.training.commands.signals import requests
from rnn_jax.training.devices import agreement
from rnn_jax.training.devices.sharding import largest, replicated
from rnn_jax.training.evaluation import make_predict
from rnn_jax.training.finished import finished_summary
from rnn_jax.training.intervals import compile_timed, fit
from rnn_jax.training.row_log import RowLog
from rnn_jax.training.run import Run
from rnn_jax.training.runs import metrics, records
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.metrics import METRICS
from rnn_jax.training.runs.provenance import versions
from rnn_jax.training.runs.saved_runs import CHECKPOINTS, deciding
from rnn_jax.training.state import TrainState
from rnn_jax.training.step import TrainStep
from rnn_jax.training.stream import make_feed
from rnn_jax.typing import Data

SAVE_SECONDS = 30
"""Default minimum time between two checkpoints."""
SAVE_SHARE = 20
"""Default minimum time between two checkpoints, as a multiple of the time that one takes."""


class Trainer:
    """The training loop of a run, new or resumed.

    Args:
      run: the run, after `Run.describe`.
      step: see `make_train_step`.
      order: the examples of each step.
      steps: number of steps to train.
      verdict: a format string for the results in the summary, such as "accuracy {accuracy:.4f}".

    Attributes:
      summary: the summary of a finished run that is resumed, otherwise None.
      rows: the rows of metrics so far.
      seconds: training time, over all successive processes of the run.
      compile_seconds: compilation time.

    Raises:
      InputError: the run to resume has other settings, or its rows are damaged.
    """

    def __init__(self, run: Run, step: TrainStep, order: Order, steps: int, verdict: str):
        self.out, self.config, self.settings = run.out, run.config, dict(run.settings)
        self._run, self.steps, self.verdict = run, steps, verdict
        self._step, self._order = step, order
        folder, config = run.out.path / CHECKPOINTS, run.config
        self.checkpoints = Checkpoints(folder, config.keep, config.keep_best)
        self._log = RowLog(run.out, config, steps)
        self.rows = self._log.rows
        self.seconds = self.compile_seconds = 0.0
        self.summary = finished_summary(run, steps)
        if self.summary is not None:
            print(f"finished {verdict.format(**self.summary)}; nothing is left to do")

    def compile_predict(
        self,
        graphdef: nnx.GraphDef,
        predict: Callable[[nnx.Module, Data], Data],
        state: TrainState,
        data: Data,
    ) -> Callable[[TrainState], Data]:
        """Compile the evaluation of a model on a whole data set, before it is trained.

        Args:
          graphdef: the graph definition of the model.
          predict: `predict(model, batch) -> outputs`; see `make_predict`.
          state: any state of the model.
          data: arrays [N, ...].

        Returns:
          `(state) -> outputs` as NumPy arrays [N, ...].
        """
        data = jax.device_put(data, replicated(self._run.mesh))
        function = make_predict(graphdef, predict, self._run.mesh)
        compiled, seconds = compile_timed(function, state.params, data)
        self.compile_seconds += seconds
        return lambda state: jax.device_get(compiled(state.params, data))

    def train(self, state: TrainState, data: Data | Source) -> TrainState:
        """Train to the last step and return the state; arguments and errors as in `run`."""
        for state, _ in self.run(state, data):  # noqa: B007, B020
            pass
        return state

    def run(self, state: TrainState, data: Data | Source) -> Iterator[tuple[TrainState, dict]]:
        """Train to the last step; a generator over the rows of metrics.

        Args:
          state: the state before the first step. A run to resume continues from its newest valid
            checkpoint instead.
          data: the training set, arrays [N, ...] or a source.

        Yields:
          The state and the row of metrics at every multiple of `log_every` steps and at the end.
          The state is valid until the next item is requested. Time that the caller spends between
          two items does not count as training time.

        Raises:
          Stopped: a signal arrived, such as SIGINT; the state is saved.
          InputError: the checkpoints have other settings or are all invalid, or rows are damaged.
          RunError: too many steps in a row were not finite, or nothing can be saved.
        """
        with make_feed(self.config, data, self._order, self.steps, self._run.mesh) as feed:
            if metric := self.config.keep_best:
                check_metric(metric, self._step.gradient, state, feed.batch(0))
            state = self._start(state, feed)
            many, seconds = compile_timed(feed.function(self._step), state, *feed.example(), 0)
            self.compile_seconds += seconds
            if int(state.step) < self.steps:
                yield from self._train(many, state, feed)
            else:
                yield state, self.rows[-1]

    def summarize(
        self, state: TrainState, counts: Mapping[str, int] | None = None, **results: object
    ) -> dict[str, Any]:
        """The summary of the run: results, counts, times and settings.

        Args:
          state: the last state.
          counts: units per example that the summary also counts, such as {"characters": 64}.
          results: results on the test set, by name.
        """
        examples = self.steps * self.config.batch_size
        totals = {"examples": examples}
        totals |= {name: examples * number for name, number in (counts or {}).items()}
        summary = {
            **results,
            "steps": self.steps,
            **totals,
            "skipped_steps": int(state.skipped),
            "train_seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
            "step_ms": 1e3 * self.seconds / self.steps,
            **{f"{name}_per_second": count / self.seconds for name, count in totals.items()},
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        }
        return summary | deciding(self.settings) | summary | self._run.facts

    def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Write summary.json, print the result and the files, and return the summary."""
        summary = records.write_summary(self.out, summary)
        print(
            f"test     {self.verdict}\n"
            "time     compiling {compile_seconds:.1f} s, training {train_seconds:.1f} s: "
            "{step_ms:.2f} ms per step, {examples_per_second:,.0f} examples/s".format(**summary)
        )
        figures = sorted(path.name for path in self.out.path.glob("*.png"))
        for name in ("config.json", METRICS, CHECKPOINTS, "summary.json", *figures):
            print(f"wrote    {printable(self.out.path / name)}")
        return summary

    def _start(self, state, feed):
        """The state to train from: `state`, or that of the newest valid checkpoint of the run."""
        restored = self.checkpoints.restore(state) if self.config.resume else None
        done, rows = restored.step if restored else 0, []
        agreement.check_restored(done)
        if restored is None:
            if self.config.resume:
                metrics.check_not_begun(self.out)
                print(f"resume   {self.out.path} has no checkpoint: training starts at step 0")
            self.out.write(records.CONFIG, self.settings)
            self.out.write_text(metrics.PENDING, "")
        else:
            then = restored.facts["settings"]
            records.check_same(self.out, self.settings, then)
            if done > self.steps:
                raise InputError(
                    f"the run in {self.out.path} has {done} steps already, more than {self.steps}; "
                    "give at least as many, or another `out_dir`."
                )
            extended = done < self.steps
            rows = metrics.read_metrics(self.out, done, restored.facts, extended=extended)
            if extended:  # A run of this length from the start would have no row at the old end.
                rows = [row for row in rows if self._log.is_regular(row)]
            self.seconds = restored.facts["train_seconds"]
            self.settings |= records.extend(self.out, self.settings, then, done)
            feed.set_state(restored.facts.get("iterator", {"next_step": done}))  # Older runs: none.
            state = jax.device_put(restored.tree, replicated(self._run.mesh))
            print(f"resume   from step {done} in {self.out.path}")
        if self.out.writes:
            sweep(self.out.path)
        self.checkpoints.set_aside(done)
        self._log.start(rows)
        return state

    def _train(self, many, state, feed):
        config = self.config
        every = {name: getattr(config, name) for name in ("log_every", "checkpoint_every")}
        calls = fit(many, state, feed, steps=self.steps, **every)
        saved = time.perf_counter()
        started = saved - self.seconds
        with requests() as request, self.checkpoints.settled(), self._log.shown(int(state.step)):
            for state, row in calls:
                self.seconds = time.perf_counter() - started
                step = int(state.step)
                if row is not None:
                    self._log.add(row)
                    paused = time.perf_counter()
                    yield state, row
                    started += time.perf_counter() - paused
                if step < self.steps and int(state.skipped_in_row) >= config.bad_step_limit:
                    gradient, batch = self._step.gradient, feed.batch(step - 1)
                    raise RunError(why_bad(gradient, state, batch, config.debug_nans))
                stop, due = largest(request.signal, self._is_due(step, saved, row))
                if stop or due or step == self.steps:
                    self._save(state, row, feed, background=not stop and step < self.steps)
                    saved = time.perf_counter()
                if stop:
                    name, again = signal.Signals(int(stop)).name, resume_command(self.out.path)
                    done = f"{name} after step {step} of {self.steps}"
                    raise Stopped(int(stop), f"{done}; all is saved, continue with: {again}")

    def _save(self, state, row, feed, background):
        facts = {"settings": self.settings, "train_seconds": self.seconds, "row": row}
        facts |= self._log.seals() | {"versions": versions(), "iterator": feed.get_state()}
        self.checkpoints.save(int(state.step), state, facts, background=background)
        if self.checkpoints.steps():
            self.out.remove(metrics.PENDING)

    def _is_due(self, step, saved, row):
        """Decide whether to save now; the first of several processes decides for all."""
        if not self.out.writes:
            return False
        passed = time.perf_counter() - saved
        ready = passed >= SAVE_SHARE * self.checkpoints.cost and not self.checkpoints.busy
        if row is not None and ready and self.checkpoints.improves(row):
            return True
        every = self.config.checkpoint_every
        return step % every == 0 if every else ready and passed >= SAVE_SECONDS
