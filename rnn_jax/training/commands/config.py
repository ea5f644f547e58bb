"""Options that all training commands share. JAX is not imported here."""

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Literal

from rnn_jax.errors import InputError, check_extra
from rnn_jax.files import local_path
from rnn_jax.training.commands.ranges import (
    Count,
    Natural,
    NonNegative,
    Positive,
    Size,
    check_ranges,
)

FREE = (
    *("devices", "coordinator", "num_processes", "process_id", "start_timeout"),
    *("data_dir", "out_dir", "resume"),
    "trust_modules",
    *("data_in", "data_workers"),
    *("checkpoint_every", "keep", "keep_best", "max_bad_steps", "debug_nans"),
    "tensorboard",
    *("text", "prompt", "sample_length", "temperature", "guidance"),
)
"""Settings that a resumed run may change because they do not affect the result."""

LENGTHS = "examples", "steps", "extensions"
"""Settings that a resumed run may increase, and the record of such extensions."""

Schedule = Literal["constant", "cosine", "warmup-cosine"]
"""Names of learning rate schedules."""

MOST_STEPS = 2**31 - 1
"""Steps are counted in 32 bits."""


def own_options_first(cls: type) -> type:
    """List the options of a command before those it inherits, in `--help` and config.json."""
    fields = cls.__dataclass_fields__
    names = dict.fromkeys(name for base in cls.__mro__ for name in inspect.get_annotations(base))
    cls.__dataclass_fields__ = {name: fields[name] for name in names if name in fields}
    return cls


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of training: optimizer, devices, results and checkpoints."""

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """Optimizer; sgd has a momentum of 0.9."""
    learning_rate: Positive = 1e-3
    """Learning rate; the peak value of a schedule."""
    schedule: Schedule = "constant"
    """Learning rate schedule: constant, half a cosine to 0 at the last step, or the same after a
    linear warmup over the first tenth of the steps."""
    weight_decay: NonNegative = 0.0
    """Weight decay, for adamw."""
    clip_norm: NonNegative = 0.0
    """Maximum global norm of the gradient, which is scaled down to it; 0 for no limit."""
    batch_size: Count = 128
    """Examples per step, over all devices together."""
    log_every: Count = 20
    """Steps between two rows of metrics; the steps in between run as one compiled call."""
    seed: Natural = 0
    """Random seed of the initial parameters and of the order of the examples."""
    data_in: Literal["memory", "stream"] = "memory"
    """Training set: whole on every device, or read ahead from host memory or files while the
    devices compute, with the same results; needs the extra `stream`."""
    data_workers: Natural = 0
    """Processes that read and decode for --data-in stream; 0 for a thread."""
    devices: Natural = 0
    """Number of CPU cores, GPUs or TPUs; 0 for the largest number that divides the batch."""
    coordinator: str = ""
    """host:port of the first of several processes; auto where JAX can detect it (Slurm, TPUs)."""
    num_processes: int = 1
    """Number of processes that train together, over all hosts."""
    process_id: int = 0
    """Index of this process, from 0; process 0 prints and writes the results."""
    start_timeout: Positive = 30.0
    """Maximum wait for the other processes at the start [s]."""
    out_dir: Path
    """Folder for results; if the default one holds a run, the next free one: -2, -3, ..."""
    resume: bool = False
    """Continue the run in --out-dir, or the one with the highest number, from its newest valid
    checkpoint."""
    checkpoint_every: Natural = 0
    """Steps between two checkpoints; 0 for every half minute, or less often if saving is slow."""
    keep: Count = 2
    """Number of newest checkpoints to keep."""
    keep_best: str = ""
    """Also keep the checkpoint with the best value of this metric, such as loss."""
    tensorboard: bool = False
    """Write the rows as TensorBoard event files too; needs the extra `tensorboard`."""
    max_bad_steps: Count = 10
    """Stop after this many consecutive steps whose loss, gradient or update is not finite."""
    debug_nans: bool = False
    """Stop at the first such step and name the operation that produced the first bad value."""

    @property
    def bad_step_limit(self) -> int:
        """Consecutive steps that may be skipped before training stops."""
        return 1 if self.debug_nans else self.max_bad_steps

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        check_ranges(self)
        for field in dataclasses.fields(self):
            if isinstance(path := getattr(self, field.name), Path):
                local_path(path)
        if self.weight_decay and self.optimizer != "adamw":
            raise InputError(
                f"--weight-decay needs --optimizer adamw, got --optimizer {self.optimizer}."
            )
        if self.data_workers and self.data_in != "stream":
            raise InputError("--data-workers needs --data-in stream, got --data-in memory.")
        if self.data_in == "stream":
            check_extra("--data-in stream", "grain", "stream")
        if self.tensorboard:
            check_extra("--tensorboard", "tensorboardX", "tensorboard")
        if self.seed >= 2**32:
            raise InputError(f"--seed must be below 2**32, got {self.seed}.")
        steps = getattr(self, "steps", 1)
        if steps > MOST_STEPS:
            raise InputError(
                f"a run can have {MOST_STEPS:,} steps, and {steps:,} are too many; "
                "take fewer --examples or --steps."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellOptions:
    """Options of a recurrent cell."""

    cell: str = "lstm"
    """Recurrent cell: lstm, gru, rnn, irnn, indrnn, peephole, projected, coupled, slstm, mlstm,
    gru-reset-before, minimal, ugrnn, antisymmetric, cornn, ctrnn, lem, lmu, lru, s5, mingru,
    minlstm, rglru, deltanet, gated-deltanet, or a class of your own as my_module:MyCell, which is
    also searched for in the current folder."""
    hidden_size: Size = 128
    """Hidden units of the cell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(TrainConfig):
    """Options of training on images of a TFDS data set."""

    examples: Count = 100_000
    """Total number of training examples; an epoch of MNIST has 60,000."""
    data_dir: Path | None = None
    """Data folder of TFDS; by default the one that TFDS uses."""

    @property
    def steps(self) -> int:
        """Number of training steps: enough whole batches for all examples."""
        return math.ceil(self.examples / self.batch_size)
