"""A run from its first step to its last: rows, checkpoints, signals, and numbers gone bad."""

import signal
import time
from collections.abc import Callable, Mapping

import jax
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from rnn_jax.errors import InputError, RunError, Stopped
from rnn_jax.files import sweep
from rnn_jax.training.bad_steps import why_bad
from rnn_jax.training.batches import Order
from rnn_jax.training.best import check_metric
from rnn_jax.training.commands.cli import resume_command
from rnn_jax.training.commands.config import FREE, TrainConfig
from rnn_jax.training.commands.signals import requests
from rnn_jax.training.devices import agreement
from rnn_jax.training.devices.sharding import largest, replicated
from rnn_jax.training.intervals import ROW, fit
from rnn_jax.training.runs import metrics, records
from rnn_jax.training.runs.checkpoint import Checkpoints
from rnn_jax.training.runs.jsonl import as_line
from rnn_jax.training.runs.metrics import METRICS
from rnn_jax.training.runs.provenance import versions
from rnn_jax.training.runs.run_dir import RunDir
from rnn_jax.training.runs.saved_runs import CHECKPOINTS, held
from rnn_jax.training.step import TrainState
from rnn_jax.typing import Data

SAVE_SECONDS = 30
"""The least time between two checkpoints by default; at most one call more is lost."""
SAVE_SHARE = 20
"""The time between two checkpoints by default, as a multiple of the time that one costs."""
LIVE_SECONDS = 1
"""What lies at least between two looks at a model in training."""


class Loop:
    """One run in its folder, new or gone on with.

    Attributes:
      learning_rate: what the config says of it: one for all steps, or a function of the step.
      rows: the rows of metrics so far.
      seconds: how long training took, over all processes that worked on the run one after another.
    """

    def __init__(self, out: RunDir, config: TrainConfig, settings: Mapping, steps: int):
        self.out, self.config, self.settings, self.steps = out, config, dict(settings), steps
        self.checkpoints = Checkpoints(out.path / CHECKPOINTS, config.keep, config.keep_best)
        self.learning_rate = config.learning_rate
        if config.decay == "cosine":
            self.learning_rate = optax.cosine_decay_schedule(config.learning_rate, steps)
        self.rows: list[dict] = []
        self._tally, self._regular = metrics.Tally(), metrics.Tally()
        self.seconds = 0.0

    def finished(self) -> dict | None:
        """The summary of the run to resume, if it is finished and its settings are those of now.

        Raises:
          InputError: the run was made with other settings, or its rows are damaged.
        """
        if not self.config.resume:
            return None
        facts = records.sealed_facts(self.out.path)
        saved = records.saved_settings(self.out, facts)
        if saved is not None:
            records.check_same(self.out, self.settings, saved)
        summary = records.read_summary(self.out, facts)
        if summary is None or summary.get("steps", self.steps) != self.steps:
            return None
        now = held(self.settings)
        if any(summary[name] != now.get(name) for name in FREE if name in summary):
            return None
        if facts is not None:
            metrics.read_metrics(self.out, self.steps, facts)
        return summary

    def start(self, state: TrainState, mesh: Mesh) -> TrainState:
        """The state to train from: that of the newest valid checkpoint on --resume, or `state`.

        Raises:
          InputError: the checkpoint has other settings, or none is valid; rows are damaged, or
            their checkpoint is missing.
        """
        restored = self.checkpoints.restore(state) if self.config.resume else None
        done = restored.step if restored else 0
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
                    "give at least as many --examples or --steps, or another --out-dir."
                )
            extended = done < self.steps
            self.rows = metrics.read_metrics(self.out, done, restored.facts, extended=extended)
            if extended:  # A run that had been this long from the start has no row at its old end.
                self.rows = [row for row in self.rows if self._is_regular(row)]
            self.seconds = restored.facts["train_seconds"]
            self.settings |= records.extend(self.out, self.settings, then, done)
            state = jax.device_put(restored.tree, replicated(mesh))
            print(f"resume   from step {done} in {self.out.path}")
        if self.out.writes:
            sweep(self.out.path)
        self._tally = metrics.Tally(self.rows)
        self._regular = metrics.Tally(filter(self._is_regular, self.rows))
        self.checkpoints.set_aside(done)
        self.out.write_text(METRICS, "".join(map(as_line, self.rows)))
        return state

    def train(
        self,
        interval: Callable,
        gradient: Callable,
        state: TrainState,
        data: Data,
        order: Order,
        live: Callable[[TrainState, dict], None] | None = None,
    ) -> TrainState:
        """Train to the last step, with a progress bar, rows and checkpoints; see `fit`.

        Args:
          interval: trains by `gradient`, see `make_train_interval` and `make_gradient`.
          gradient: says what was wrong, if too many steps were.
          state: where to start, see `start`.
          data: arrays [N, ...], whole on every device.
          order: which examples each step sees.
          live: shows the state and the row that it has come to, now and then; takes no training
            time.

        Raises:
          Stopped: SIGINT or SIGTERM came; the state is saved.
          RunError: too many steps in a row were not finite, or nothing can be saved.
        """
        config, step = self.config, int(state.step)
        every = {"log_every": config.log_every, "checkpoint_every": config.checkpoint_every}
        calls = fit(interval, state, data, order, steps=self.steps, **every)
        saved = shown = time.perf_counter()
        begun = saved - self.seconds
        if config.keep_best:
            check_metric(config.keep_best, gradient, state, data, order.batch_size)
        bar = self._progress_bar(step * order.batch_size)
        with requests() as request, self.checkpoints.settled(), bar:
            for state, row in calls:
                self.seconds = time.perf_counter() - begun
                step = int(state.step)
                if row is not None:
                    self._report(row, bar)
                    looked = time.perf_counter()
                    if live and looked - shown >= LIVE_SECONDS:
                        live(state, row)
                        shown = time.perf_counter()
                        begun += shown - looked
                if step < self.steps and int(state.skipped_in_row) >= config.bad_steps_allowed:
                    raise RunError(why_bad(gradient, state, data, order, config.debug_nans))
                stop, due = largest(request.signal, self._is_due(step, saved, row))
                if stop or due or step == self.steps:
                    facts = {"settings": self.settings, "train_seconds": self.seconds, "row": row}
                    facts |= {"rows": self._tally.seal(), "regular_rows": self._regular.seal()}
                    facts |= {"versions": versions()}
                    background = not stop and step < self.steps
                    self.checkpoints.save(step, state, facts, background=background)
                    if self.checkpoints.steps():
                        self.out.remove(metrics.PENDING)
                    saved = time.perf_counter()
                if stop:
                    raise Stopped(int(stop), self._how_to_go_on(int(stop), step))
        return state

    def _progress_bar(self, examples):
        total = self.steps * self.config.batch_size
        quiet = None if self.out.writes else True
        return tqdm(total=total, initial=examples, unit=" examples", disable=quiet)

    def _report(self, row, bar):
        clip, norm = self.config.clip_norm, row["grad_norm"]
        factor = min(1.0, clip / norm) if clip and norm else 1.0
        metrics = {"loss": _shown(row["loss"], ".4f")}
        added = [name for name in row if name not in ROW]
        metrics |= {name.replace("_", " "): _shown(row[name], ".3f") for name in added}
        rate = self.learning_rate
        rate = float(rate(row["step"] - 1)) if callable(rate) else rate
        row |= {"learning_rate": rate, "clip_factor": factor}
        self.rows.append(row)
        self.out.append(METRICS, row)
        self._tally.add(row)
        if self._is_regular(row):
            self._regular.add(row)
        skipped = f"  skipped {row['skipped_steps']}" if row["skipped_steps"] else ""
        bar.write(
            f"step {row['step']:>{len(str(self.steps))}}/{self.steps}  "
            f"examples {row['examples']:>7,}  "
            + "".join(f"{name} {value}  " for name, value in metrics.items())
            + f"{row['examples_per_second']:,.0f} examples/s{skipped}"
        )
        bar.set_postfix(metrics)
        bar.update(row["examples"] - bar.n)

    def _is_regular(self, row):
        return row["step"] % self.config.log_every == 0

    def _is_due(self, step, saved, row):
        """Whether to save now; the first of several processes decides for all."""
        if not self.out.writes:
            return False
        passed = time.perf_counter() - saved
        ready = passed >= SAVE_SHARE * self.checkpoints.cost and not self.checkpoints.busy
        if row is not None and ready and self.checkpoints.improves(row):
            return True
        if self.config.checkpoint_every:
            return step % self.config.checkpoint_every == 0
        return ready and passed >= SAVE_SECONDS

    def _how_to_go_on(self, number, step):
        name = signal.Signals(number).name
        return (
            f"{name} after step {step} of {self.steps}; all is saved, go on with: "
            f"{resume_command(self.out.path)}"
        )


def _shown(value, form):
    return "not finite" if value is None else format(value, form)
