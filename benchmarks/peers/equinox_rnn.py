"""Equinox: its cells in `jax.lax.scan`, with `jax.vmap` over the batch, as in its examples."""

import equinox as eqx
import jax
import jax.numpy as jnp

from peers import jax_layer
from peers.problem import Prepared, Problem, Sizes, Unsupported

CELLS = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}


def run(cell, xs):
    """Run a cell on a sequence xs [T, D]; return outputs [T, H] and the last hidden state [H]."""
    lstm = isinstance(cell, eqx.nn.LSTMCell)

    def step(state, x):
        state = cell(x, state)
        return state, state[0] if lstm else state

    zeros = jnp.zeros(cell.hidden_size)
    state, ys = jax.lax.scan(step, (zeros, zeros) if lstm else zeros, xs)
    return ys, state[0] if lstm else state


def layer(problem: Problem, devices: int) -> Prepared:
    """Prepare the layer, with `jax.vmap` over the batch."""
    if problem.cell not in CELLS:
        raise Unsupported("it has no simple recurrent cell")
    start = CELLS[problem.cell](problem.D, problem.H, key=jax.random.key(0))
    params, static = eqx.partition(start, eqx.is_array)

    def params_of(weights):
        new = [weights["w_x"].T, weights["w_h"].T, weights["b"]]
        where = [lambda c: c.weight_ih, lambda c: c.weight_hh, lambda c: c.bias]
        if problem.cell == "gru":
            new.append(weights["b_h"])
            where.append(lambda c: c.bias_n)
        return eqx.tree_at(lambda c: [w(c) for w in where], params, new)

    def apply(params, xs):
        cell = eqx.combine(params, static)
        return jax.vmap(lambda xs: run(cell, xs), in_axes=1, out_axes=(1, 0))(xs)

    return jax_layer.prepare(jax_layer.Layer(params_of, apply), problem, devices)


class Classifier(eqx.Module):
    """The network of the job."""

    project: eqx.nn.Linear
    cell: eqx.nn.LSTMCell
    output: eqx.nn.Linear

    def __init__(self, sizes: Sizes, key):
        keys = jax.random.split(key, 3)
        self.project = eqx.nn.Linear(sizes.input_size, sizes.hidden_size, key=keys[0])
        self.cell = eqx.nn.LSTMCell(sizes.hidden_size, sizes.hidden_size, key=keys[1])
        self.output = eqx.nn.Linear(sizes.hidden_size, sizes.classes, key=keys[2])

    def __call__(self, image):
        """Compute logits [C] of an image [T, D]."""
        return self.output(run(self.cell, jax.vmap(self.project)(image))[1])


def job(sizes: Sizes, devices: int):
    """Build the training loop of the job."""
    params, static = eqx.partition(Classifier(sizes, jax.random.key(0)), eqx.is_array)

    def logits_of(params, images):
        return jax.vmap(eqx.combine(params, static))(images)

    return jax_layer.job(params, logits_of, sizes, devices)
