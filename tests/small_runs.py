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
from rnn_jax.training.runs.run_dir import RunDir
from rnn_jax.training.step import init_state, make_gradient, make_train_interval
from rnn_jax.training.trainer import Loop

CLASSES, N, T, D, STEPS = 3, 40, 5, 4, 12


def few_examples():
    xs = np.random.default_rng(0).normal(size=(N, T, D)).astype(np.float32)
    return jnp.asarray(xs), jnp.asarray(xs.mean(1)[:, :CLASSES].argmax(-1))


class Run:
    """One cell in training, which can be started as often as one likes and compiles once."""

    def __init__(self, cell="lstm", devices=1):
        self.cell, self.mesh, self.optimizer = cell, data_mesh(8, devices), optax.adam(0.01)
        self.graphdef, self.first = init_state(self.create, self.optimizer, self.mesh)
        self.gradient = make_gradient(self.graphdef, classification_loss)
        self.interval = make_train_interval(self.gradient, self.optimizer, self.mesh)

    def create(self):
        sizes = {"projection_size": 0, "rngs": nnx.Rngs(0)}
        return SequenceClassifier(CELLS[self.cell](6), D, CLASSES, **sizes)

    def __call__(self, out_dir, examples, settings=None, **flags):
        config = TrainConfig(**{"batch_size": 8, "log_every": 5, "out_dir": out_dir} | flags)
        settings = {"cell": self.cell} if settings is None else settings
        out_dir.mkdir(exist_ok=True)
        loop = Loop(RunDir(out_dir), config, settings, STEPS)
        if summary := loop.finished():
            return summary
        state = loop.start(jax.tree.map(jnp.copy, self.first), self.mesh)
        order = BatchOrder(0, N, 8)
        return loop.train(self.interval, self.gradient, state, examples, order)


def assert_same(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)
