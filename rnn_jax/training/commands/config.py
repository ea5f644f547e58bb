"""Options that all training commands share; JAX is not imported here."""

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
"""Settings that may change when a run is resumed; the trained parameters do not depend on them."""

LENGTHS = "examples", "steps", "extensions"
"""Settings that may increase when a run is resumed, and the record of these changes."""

MOST_STEPS = 2**31 - 1
"""The step counter has 32 bits."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of training: optimizer, devices, results and checkpoints."""

    learning_rate: float = 1e-3
    """Adam's learning rate."""
    decay: Literal["none", "cosine"] = "none"
    """Decay of the learning rate: none, or by a half cosine to 0 at the last step."""
    clip_norm: float = 0.0
    """Maximum global norm of the gradient; 0 turns clipping off."""
    batch_size: int = 128
    """Examples in a batch, over all devices."""
    log_every: int = 20
    """Steps between two rows of metrics; these steps run as one compiled call."""
    seed: int = 0
    """Seed of the parameters and of the order of the examples."""
    devices: int = 0
    """Number of CPU cores, GPUs or TPUs; 0 takes the largest number that divides the batch."""
    coordinator: str = ""
    """host:port of process 0 of several; "auto" lets JAX detect it (Slurm, TPU pods)."""
    num_processes: int = 1
    """Number of processes that train together, over all hosts."""
    process_id: int = 0
    """Index of this process, from 0; process 0 prints and writes the results."""
    start_timeout: float = 30.0
    """Seconds to wait for the other processes at the start."""
    out_dir: Path
    """Folder for results; if the default one has a run, the next free one: -2, -3, ..."""
    resume: bool = False
    """Continue the run in --out-dir, by default the one with the highest number, from its newest
    valid checkpoint."""
    checkpoint_every: int = 0
    """Steps between two checkpoints; 0 saves every 30 s, or less often if saving is slow."""
    keep: int = 2
    """Number of newest checkpoints to keep."""
    keep_best: str = ""
    """Also keep the checkpoint with the best value of this metric, such as loss."""
    max_bad_steps: int = 10
    """Stop after this many consecutive steps whose loss, gradient or update is not finite."""
    debug_nans: bool = False
    """Stop at the first such step, and name the operation that produced the first bad number."""

    @property
    def bad_steps_allowed(self) -> int:
        """Consecutive steps that may be skipped before training stops."""
        return 1 if self.debug_nans else self.max_bad_steps

    def check(self) -> None:
        """Raise InputError, naming the flag, unless every setting is in its range."""
        check_positive(self, "learning_rate", "start_timeout")
        check_at_least(self, batch_size=1, log_every=1, keep=1, max_bad_steps=1)
        check_at_least(self, clip_norm=0, devices=0, seed=0, checkpoint_every=0)
        if not self.clip_norm < float("inf"):
            raise InputError(f"--clip-norm must be finite, got {self.clip_norm}; 0 turns it off.")
        if self.seed >= 2**32:
            raise InputError(f"--seed must be below 2**32, got {self.seed}.")
        steps = getattr(self, "steps", 1)
        if steps > MOST_STEPS:
            raise InputError(
                f"a run can have {MOST_STEPS:,} steps, and {steps:,} are too many; "
                "take fewer --examples or --steps."
            )
