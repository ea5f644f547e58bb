"""Runs of a small classifier on a few examples, for tests of the trainer and of run folders."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from rnn_jax import CELLS, SequenceClassifier
from rnn_jax.training.batches import BatchOrder
from rnn_jax.training.commands.config import TrainConfig
from rnn_jax.training.devices.sharding import data_mesh
from rnn_jax.training.losses import classification_loss
from rnn_jax.training.run import Run
from rnn_jax.training.runs.run_dir import RunDir
from rnn_jax.training.state import init_state
from rnn_jax.training.step import make_train_step
from rnn_jax.training.trainer import Trainer

CLASSES, N, T, D, STEPS = 3, 40, 5, 4, 12


def few_examples():
    xs = np.random.default_rng(0).normal(size=(N, T, D)).astype(np.float32)
    return jnp.asarray(xs), jnp.asarray(xs.mean(1)[:, :CLASSES].argmax(-1))


def described_run(mesh, settings, out_dir, **flags):
    """A run of given settings in a folder."""
    out_dir.mkdir(exist_ok=True)
    config = TrainConfig(**{"batch_size": 8, "log_every": 5, "out_dir": out_dir} | flags)
    run = Run(config, mesh, RunDir(out_dir))
    run.settings = dict(settings)
    return run


class SmallRun:
    """Training of one cell, which can be started any number of times."""

    def __init__(self, cell="lstm", devices=1, max_bad_steps=10):
        self.cell, self.mesh, self.optimizer = cell, data_mesh(8, devices), optax.adam(0.01)
        self.graphdef, self.first = init_state(self.create, self.optimizer, self.mesh)
        self.step = make_train_step(
            self.graphdef, classification_loss, self.optimizer, self.mesh, max_bad_steps
        )

    def create(self):
        sizes = {"projection_size": 0, "rngs": nnx.Rngs(0)}
        return SequenceClassifier(CELLS[self.cell](6), D, CLASSES, **sizes)

    def trainer(self, out_dir, settings=None, steps=STEPS, **flags):
        settings = {"cell": self.cell} if settings is None else settings
        run = described_run(self.mesh, settings, out_dir, **flags)
        return Trainer(run, self.step, BatchOrder(0, N, 8), steps, "done")

    def __call__(self, out_dir, examples, settings=None, steps=STEPS, **flags):
        trainer = self.trainer(out_dir, settings, steps, **flags)
        if trainer.summary is not None:
            return trainer.summary
        return trainer.train(jax.tree.map(jnp.copy, self.first), examples)


def assert_same(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)
