"""What every training command lets its user set; JAX is not imported here."""

import dataclasses
from pathlib import Path
from typing import Literal

from rnn_jax.errors import InputError
from rnn_jax.training.commands.cli import check_at_least, check_positive

FREE = (
    *("devices", "coordinator", "num_processes", "process_id", "start_timeout"),
    *("data_dir", "out_dir", "resume"),
    "trust_modules",
    *("checkpoint_every", "keep", "keep_best", "max_bad_steps", "debug_nans"),
    *("text", "prompt", "sample_length", "temperature", "guidance"),
)
"""The settings that a resumed run may change: where and how it runs, not what it trains."""

LENGTHS = "examples", "steps", "extensions"
"""The settings that a resumed run may increase, and the record of that."""

MOST_STEPS = 2**31 - 1
"""Steps are counted in 32 bits."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train: the optimizer, the devices, and where results and checkpoints go."""

    learning_rate: float = 1e-3
    """Adam's learning rate."""
    decay: Literal["none", "cosine"] = "none"
    """How the learning rate goes down: not at all, or to 0 at the last step along half a cosine."""
    clip_norm: float = 0.0
    """Scale gradients of a larger global norm down to this one; 0 leaves them."""
    batch_size: int = 128
    """Examples a step, over all devices together."""
    log_every: int = 20
    """Steps between two rows of metrics; the steps between run as one compiled call."""
    seed: int = 0
    """Seed of the parameters and of the order of the examples."""
    devices: int = 0
    """CPU cores, GPUs or TPUs to train on; 0 takes the most that divide the batch."""
    coordinator: str = ""
    """host:port of the first process of several; "auto" lets JAX find out (Slurm, TPU pods)."""
    num_processes: int = 1
    """Processes that train together, over all hosts."""
    process_id: int = 0
    """Which of them this is, from 0; the first prints and writes the results."""
    start_timeout: float = 30.0
    """Seconds to wait at the start for the other processes."""
    out_dir: Path
    """Folder for results; where the default holds a run, the next free one: -2, -3, ..."""
    resume: bool = False
    """Continue the run in --out-dir, or the numbered one with the highest number, from its newest
    valid checkpoint."""
    checkpoint_every: int = 0
    """Steps between two checkpoints; 0 saves every half minute, less often if that takes long."""
    keep: int = 2
    """Newest checkpoints to keep."""
    keep_best: str = ""
    """Also keep the checkpoint with the best value of this metric of the rows, such as loss."""
    max_bad_steps: int = 10
    """Stop after this many steps in a row whose loss, gradient or update is not finite."""
    debug_nans: bool = False
    """Stop at the first such step, and name the operation that the first bad number came from."""

    @property
    def bad_steps_allowed(self) -> int:
        """Steps in a row that may be skipped before training stops."""
        return 1 if self.debug_nans else self.max_bad_steps

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        check_positive(self, "learning_rate", "start_timeout")
        check_at_least(self, batch_size=1, log_every=1, keep=1, max_bad_steps=1)
        check_at_least(self, clip_norm=0, devices=0, seed=0, checkpoint_every=0)
        if not self.clip_norm < float("inf"):
            raise InputError(f"--clip-norm must be finite, got {self.clip_norm}; 0 leaves it out.")
        if self.seed >= 2**32:
            raise InputError(f"--seed must be below 2**32, got {self.seed}.")
        steps = getattr(self, "steps", 1)
        if steps > MOST_STEPS:
            raise InputError(
                f"a run can have {MOST_STEPS:,} steps, and {steps:,} are too many; "
                "take fewer --examples or --steps."
            )
