"""Flax NNX: `nnx.RNN` with its cells."""

import jax
import optax
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from peers import jax_layer
from peers.problem import Prepared, Problem, Sizes

CELLS = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "rnn": nnx.SimpleCell}


def layer(problem: Problem, devices: int) -> Prepared:
    """Prepare the layer, time-major."""
    cell = CELLS[problem.cell](problem.D, problem.H, rngs=nnx.Rngs(0))
    rnn = nnx.RNN(cell, time_major=True, return_carry=True)
    graphdef, start, rest = nnx.split(rnn, nnx.Param, ...)

    def params_of(weights):
        x, h = {"kernel": weights["w_x"]}, {"kernel": weights["w_h"]}
        (h if problem.cell == "lstm" else x)["bias"] = weights["b"]
        params = nnx.clone(start)
        nnx.replace_by_pure_dict(params, {"cell": {"dense_i": x, "dense_h": h}})
        return params

    def apply(params, xs):
        carry, ys = nnx.merge(graphdef, params, rest, copy=True)(xs)
        return ys, carry[1] if problem.cell == "lstm" else carry

    differs = "its GRU has no second bias" if problem.cell == "gru" else None
    return jax_layer.prepare(jax_layer.Layer(params_of, apply, differs), problem, devices)


class Classifier(nnx.Module):
    """The network of the job."""

    def __init__(self, sizes: Sizes, rngs: nnx.Rngs):
        self.project = nnx.Linear(sizes.input_size, sizes.hidden_size, rngs=rngs)
        cell = nnx.OptimizedLSTMCell(sizes.hidden_size, sizes.hidden_size, rngs=rngs)
        self.rnn = nnx.RNN(cell)
        self.output = nnx.Linear(sizes.hidden_size, sizes.classes, rngs=rngs)

    def __call__(self, images):
        """Compute logits [B, C] of images [B, T, D]."""
        return self.output(self.rnn(self.project(images))[:, -1])


def job(sizes: Sizes, devices: int):
    """Build the training loop of the job with `nnx.Optimizer` and `nnx.jit`, as in Flax guides.

    Several devices share a batch by its sharding, as in Flax's guide to parallel training.
    """
    model = Classifier(sizes, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(sizes.learning_rate), wrt=nnx.Param)
    mesh = jax_layer.mesh_of(devices)
    state = nnx.state((model, optimizer))
    nnx.update((model, optimizer), jax.device_put(state, NamedSharding(mesh, P())))
    split = NamedSharding(mesh, P("data"))

    @nnx.jit
    def step(model, optimizer, images, labels):
        def loss(model):
            logits = model(images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    def train(images, labels, indices):
        for batch in indices:
            chosen = images[batch], labels[batch]
            if devices > 1:
                chosen = jax.device_put(chosen, split)
            loss = step(model, optimizer, *chosen)
        return float(loss)

    return train
