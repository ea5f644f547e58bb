"""rnn_jax: each driver, on one device and on several."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from peers import jax_layer
from peers.problem import GATES, Prepared, Problem, Sizes, Unsupported
from rnn_jax import (
    CELLS,
    Associative,
    Chunked,
    CuDNN,
    Fused,
    Newton,
    ParallelBackward,
    Scan,
    unroll,
)
from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.cells.checks import has_recurrent_product
from rnn_jax.cells.registry import find_cell
from rnn_jax.drivers.unroll import pick_driver
from rnn_jax.errors import InputError
from rnn_jax.models.factory import build_classifier
from rnn_jax.training import losses
from rnn_jax.training.devices import sharding
from rnn_jax.training.state import init_state
from rnn_jax.training.step import make_train_step

DRIVERS = {
    "scan": Scan(),
    "chunked": Chunked(),
    "remat": Chunked(remat=True),
    "associative": Associative(),
    "newton": Newton(),
    "parallel_backward": ParallelBackward(),
    "fused": Fused(),
    "cudnn": CuDNN(),
    **{f"chunked-{length}": Chunked(length) for length in (2, 4, 8, 16)},
}
"""Drivers by name; a number is the length of the chunks, otherwise chosen by the driver."""


def layer(problem: Problem, driver: str, devices: int) -> Prepared:
    """Prepare the layer with a driver, the batch split over the devices."""
    if problem.cell in GATES:
        cell = CELLS[problem.cell](problem.H)
        weights = jax.tree.map(jnp.asarray, problem.weights())
        params, pull = jax.vjp(lambda weights: _params_of(cell, weights), weights)
    else:
        cell = find_cell(problem.cell, problem.H)
        params, pull = cell.init(jax.random.key(0), problem.D), None

    def apply(params, xs):
        carry, ys = unroll(cell, params, xs, driver=DRIVERS[driver])
        return ys, getattr(carry, "h", jax.tree.leaves(carry)[0])

    run, xs = jax_layer.function(jax_layer.Layer(None, apply), problem.work), problem.inputs()
    try:
        jax.eval_shape(apply, params, xs)
    except InputError as error:
        raise Unsupported(str(error)) from error
    if problem.work == "lyapunov":
        run = functools.partial(lyapunov_spectrum, cell)
    results, call, facts = jax_layer.compiled(run, problem.work, params, xs, devices)
    if problem.work == "forward":
        values = {"ys": np.asarray(results)}
    elif problem.work == "lyapunov":
        # After few steps, single exponents still depend on the initial directions.
        values = {"sum": np.asarray(results).sum(-1)}
    elif pull:
        values = jax_layer.named(results, pull)
    else:
        values = {str(k): np.asarray(v) for k, v in enumerate(jax.tree.leaves(results))}
    facts |= {
        "differs": None,
        "gates": len(cell.gates) if has_recurrent_product(cell) else None,
        "default": driver == pick_driver(cell, problem.T, problem.B // devices),
    }
    return Prepared(call, values, facts)


def _params_of(cell, weights):
    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
    return type(like)(**weights)


def matmul(size: int) -> tuple:
    """A call of a product of two square matrices, and its number of floating-point operations."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    _, call, _ = jax_layer.compiled(jnp.matmul, "forward", a, a)
    return call, 2 * size**3


def job(sizes: Sizes, driver: str, devices: int):
    """Build the training loop of the job, as in experiments/mnist_lstm.py."""
    settings = {"cell": "lstm", "hidden_size": sizes.hidden_size, "forget_bias": 1.0}
    settings |= {"input_size": sizes.input_size, "num_classes": sizes.classes, "seed": 0}
    settings |= {"projection_size": sizes.hidden_size, "readout": "carry"}

    create = functools.partial(build_classifier, settings, driver)
    split, optimizer = sharding.data_mesh(sizes.batch, devices), optax.adam(sizes.learning_rate)
    graphdef, state = init_state(create, optimizer, split)
    step = make_train_step(graphdef, losses.classification_loss, optimizer, split)
    held = {}

    def fit(images, labels, indices):
        if not held:
            arrays = jax.device_put((images, labels), sharding.replicated(split))
            held.update(data=arrays, state=state, steps=len(indices))
        # Pad to the first number of steps, so that fewer steps do not compile again.
        padded = np.resize(indices, (held["steps"], sizes.batch))
        held["state"], metrics = step.many(held["state"], held["data"], padded, len(indices))
        return float(metrics["loss"])

    return fit
