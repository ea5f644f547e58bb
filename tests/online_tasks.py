"""A loss of every step of a cell, and its gradient by backpropagation through time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax import unroll
from rnn_jax.testing.oracle import problem


def loss(head, y, target):
    return jnp.sum(jnp.tanh(y @ head) * target)


@partial(jax.jit, static_argnums=0)
def through_time(cell, params, xs, targets, **masks):
    def total(params):
        ys = unroll(cell, params[0], xs, driver="scan", **masks)[1]
        return jax.vmap(partial(loss, params[1]))(ys, targets).sum()

    return jax.value_and_grad(total)(params)


def task(cell, steps=5, batch=(2,)):
    p, rng = problem(cell, steps=steps, batch=batch), np.random.default_rng(1)
    head = jnp.asarray(rng.normal(size=(cell.output_size, 2)))
    return (p.params, head), p.xs, jnp.asarray(rng.normal(size=(*p.xs.shape[:-1], 2)))
