"""A run from its first step to its last: rows, checkpoints, signals, and numbers gone bad."""

import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from rnn_jax.batches import Order
from rnn_jax.best import check_metric
from rnn_jax.checkpoint import Checkpoints
from rnn_jax.config import FREE, TrainConfig
from rnn_jax.errors import InputError, RunError, Stopped
from rnn_jax.fit import ROW, fit
from rnn_jax.mesh import largest, replicated
from rnn_jax.numerics import first_bad_leaf, first_bad_primitive
from rnn_jax.rundir import RunDir, read_json
from rnn_jax.runs import CHECKPOINTS, differences, environment, held
from rnn_jax.sealed import sweep
from rnn_jax.signals import requests
from rnn_jax.train import TrainState, batch_of, example_keys
from rnn_jax.typing import Data

METRICS = "metrics.jsonl"
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
        self.seconds = 0.0

    def finished(self) -> dict | None:
        """The summary of the run to resume, if there is one and it answers what is asked now.

        Raises:
          InputError: the run was made with other settings.
        """
        if not self.config.resume:
            return None
        saved = read_json(self.out.path / "config.json")
        if saved is not None:
            self._check_same(saved)
        summary = read_json(self.out.path / "summary.json")
        asked = held(self.settings)
        same = summary and all(summary[name] == asked.get(name) for name in FREE if name in summary)
        return summary if same else None

    def start(self, state: TrainState, mesh: Mesh) -> TrainState:
        """The state to train from: that of the newest valid checkpoint on --resume, or `state`.

        Raises:
          InputError: the checkpoint is of other settings, or none is valid.
        """
        restored = self.checkpoints.restore(state) if self.config.resume else None
        if restored is None:
            self.out.write("config.json", self.settings)
            if self.config.resume:
                print(f"resume   {self.out.path} has no checkpoint: training starts anew")
        else:
            self._check_same(restored.facts["settings"])
            self.seconds = restored.facts["train_seconds"]
            state = jax.device_put(restored.tree, replicated(mesh))
            print(f"resume   from step {restored.step} in {self.out.path}")
        if self.out.writes:
            sweep(self.out.path)
        done = restored.step if restored else 0
        self.checkpoints.set_aside(done)
        self.rows = self.out.cut_rows(METRICS, done)
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
                    raise RunError(self._why_bad(gradient, state, data, order))
                stop, due = largest(request.signal, self._is_due(step, saved, row))
                if stop or due or step == self.steps:
                    facts = {"settings": self.settings, "train_seconds": self.seconds, "row": row}
                    facts |= {"versions": environment()}
                    background = not stop and step < self.steps
                    self.checkpoints.save(step, state, facts, background=background)
                    saved = time.perf_counter()
                if stop and step < self.steps:
                    raise Stopped(int(stop), self._how_to_go_on(int(stop), step))
        return state

    def _check_same(self, saved):
        changed = differences(self.settings, saved)
        if changed:
            raise InputError(
                f"the run in {self.out.path} was made with other settings: {', '.join(changed)}; "
                "resume it with those, or give another --out-dir."
            )

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
        skipped = f"  skipped {row['skipped_steps']}" if row["skipped_steps"] else ""
        bar.write(
            f"step {row['step']:>{len(str(self.steps))}}/{self.steps}  "
            f"examples {row['examples']:>7,}  "
            + "".join(f"{name} {value}  " for name, value in metrics.items())
            + f"{row['examples_per_second']:,.0f} examples/s{skipped}"
        )
        bar.set_postfix(metrics)
        bar.update(row["examples"] - bar.n)

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
        command = ["python", *sys.argv]
        for flag, value in {"--out-dir": [str(self.config.out_dir)], "--resume": []}.items():
            command += [flag, *value] if flag not in command else []
        name = signal.Signals(number).name
        return (
            f"{name} after step {step} of {self.steps}; all is saved, go on with: "
            f"{shlex.join(command)}"
        )

    def _why_bad(self, gradient, state, data, order):
        """What was wrong with the last step; all that it was made of is still at hand."""
        state, data = jax.device_get((state, data))
        step = int(state.step)
        batch = batch_of(data, order.indices(step - 1, 1)[0])
        keys = example_keys(state._replace(step=step - 1), jnp.arange(order.batch_size))
        args = jax.device_put((state.params, batch, keys, state.memory))
        (loss, _), grads = jax.jit(gradient)(*args)
        leaf = first_bad_leaf(grads)
        gradients = (
            f"the gradient of {leaf} was the first that is not finite"
            if leaf
            else "every gradient was finite, and the update by them was not"
        )
        count = int(state.skipped_in_row)
        text = f"step {step} was skipped, the last of {count} in a row: loss {loss}, {gradients}"
        if self.config.debug_nans:
            primitive = first_bad_primitive(gradient, *args) or "none of the model's own operations"
            return f"{text}; the first bad number: {primitive}."
        return (
            f"{text}; the parameters are those before. Take a lower --learning-rate or "
            "--clip-norm 1, or let --debug-nans name the operation."
        )


def _shown(value, form):
    return "not finite" if value is None else format(value, form)
