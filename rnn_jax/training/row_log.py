"""The rows of metrics of a run: on disk, on the terminal, and as TensorBoard events."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from rnn_jax.training.commands.config import TrainConfig
from rnn_jax.training.intervals import ROW
from rnn_jax.training.optimizers import learning_rate
from rnn_jax.training.runs.event_files import EventFile
from rnn_jax.training.runs.jsonl import as_line
from rnn_jax.training.runs.metrics import METRICS, Tally
from rnn_jax.training.runs.run_dir import RunDir


class RowLog:
    """The rows of metrics of a run; see `fit`.

    Attributes:
      rows: the rows so far, with the learning rate and the gradient clipping factor added.
    """

    def __init__(self, out: RunDir, config: TrainConfig, steps: int):
        self._out, self._config, self._steps = out, config, steps
        self._rate = learning_rate(config, steps)
        self._bar: Any = None
        self._events: Any = None
        self.rows: list[dict] = []
        self._tally, self._regular = Tally(), Tally()

    def start(self, rows: Sequence[dict]) -> None:
        """Write the rows of a resumed run, or none."""
        self.rows[:] = rows
        self._tally = Tally(self.rows)
        self._regular = Tally(filter(self.is_regular, self.rows))
        self._out.write_text(METRICS, "".join(map(as_line, self.rows)))

    @contextlib.contextmanager
    def shown(self, step: int) -> Iterator[None]:
        """Show a progress bar starting at a step, and open the event file if enabled."""
        size = self._config.batch_size
        quiet = None if self._out.writes else True
        with contextlib.ExitStack() as stack:
            bar = tqdm(
                total=self._steps * size, initial=step * size, unit=" examples", disable=quiet
            )
            self._bar = stack.enter_context(bar)
            if self._config.tensorboard and self._out.writes:
                self._events = stack.enter_context(EventFile(self._out.path, step))
            yield

    def add(self, row: dict) -> None:
        """Complete a row, write it and show it."""
        clip, norm = self._config.clip_norm, row["grad_norm"]
        rate: Any = self._rate
        if callable(rate):
            value: Any = rate(row["step"] - 1)
            rate = float(value)
        row["learning_rate"] = rate
        row["clip_factor"] = min(1.0, clip / norm) if clip and norm else 1.0
        self.rows.append(row)
        self._out.append(METRICS, row)
        self._tally.add(row)
        if self.is_regular(row):
            self._regular.add(row)
        if self._events is not None:
            self._events.write(row)
        self._show(row)

    def is_regular(self, row: dict) -> bool:
        """Return whether the step of a row is a multiple of `log_every`."""
        return row["step"] % self._config.log_every == 0

    def seals(self) -> dict[str, dict]:
        """The digests of the rows that a checkpoint stores."""
        return {"rows": self._tally.seal(), "regular_rows": self._regular.seal()}

    def _show(self, row):
        added = [name for name in row if name not in (*ROW, "learning_rate", "clip_factor")]
        metrics = {"loss": _text(row["loss"], ".4f")}
        metrics |= {name.replace("_", " "): _text(row[name], ".3f") for name in added}
        skipped = f"  skipped {row['skipped_steps']}" if row["skipped_steps"] else ""
        self._bar.write(
            f"step {row['step']:>{len(str(self._steps))}}/{self._steps}  "
            f"examples {row['examples']:>7,}  "
            + "".join(f"{name} {value}  " for name, value in metrics.items())
            + f"{row['examples_per_second']:,.0f} examples/s{skipped}"
        )
        self._bar.set_postfix(metrics)
        self._bar.update(row["examples"] - self._bar.n)


def _text(value, form):
    return "not finite" if value is None else format(value, form)
