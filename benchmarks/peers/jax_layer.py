"""Layers and training jobs of JAX libraries: the code that all of them share."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from peers.problem import Prepared, Problem, Sizes, Unsupported


class Layer(NamedTuple):
    """A recurrent layer of one library.

    Attributes:
      params_of: an affine map from the weights of `problem.py` to the parameters of the layer.
      apply: maps params and xs [T, B, D] to outputs [T, B, H] and the last hidden state [B, H].
      differs: a difference from the equations of the other libraries, if any.
    """

    params_of: Callable[[dict], Any]
    apply: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]
    differs: str | None = None


def function(layer: Layer, work: str) -> Callable:
    """The function of params and xs to time: ys, or the loss and its gradient by params."""

    def loss(params, xs):
        return jnp.mean(layer.apply(params, xs)[1] ** 2)

    if work == "train":
        return jax.value_and_grad(loss)
    return lambda params, xs: layer.apply(params, xs)[0]


def prepare(layer: Layer, problem: Problem, devices: int) -> Prepared:
    """Compile a layer's pass, the batch split over the devices."""
    if problem.work not in ("forward", "train"):
        raise Unsupported(f"it has no {problem.work} pass")
    weights = jax.tree.map(jnp.asarray, problem.weights())
    params, pull = jax.vjp(layer.params_of, weights)
    run = function(layer, problem.work)
    results, call, facts = compiled(run, problem.work, params, problem.inputs(), devices)
    values = named(results, pull) if problem.work == "train" else {"ys": np.asarray(results)}
    return Prepared(call, values, facts | {"differs": layer.differs})


def named(results: tuple, pull: Callable) -> dict[str, np.ndarray]:
    """Loss and gradients by name; `pull` maps a gradient by params to one by the weights."""
    loss, grads = jax.device_put(results, jax.devices()[0])
    return {"loss": np.asarray(loss)} | {f"d_{k}": np.asarray(v) for k, v in pull(grads)[0].items()}


BATCH_SPECS = {"train": P(), "forward": P(None, "data"), "lyapunov": P("data")}
"""The axis of a pass's results that is split over devices, if any."""


def mesh_of(devices: int) -> Mesh:
    """A mesh with the axis `data`."""
    return Mesh(np.array(jax.devices()[:devices]), ("data",))


def mean_over_devices(tree):
    """The means of all arrays over the axis `data`, by one all-reduce."""
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.pmean(flat, "data"))


def compiled(
    function: Callable, work: str, params, xs, devices: int = 1
) -> tuple[Any, Callable[[], Any], dict]:
    """Results of `function(params, xs)`, a blocking call of it, and compile time and memory.

    With several devices, each runs its part of the batch, and gradients are averaged once.
    """
    if devices > 1:
        mesh, local = mesh_of(devices), function

        def of_part(params, xs):
            results = local(params, xs)
            return mean_over_devices(results) if work == "train" else results

        specs = {"in_specs": (P(), P(None, "data")), "out_specs": BATCH_SPECS[work]}
        function = jax.shard_map(of_part, mesh=mesh, check_vma=False, **specs)
        params = jax.device_put(params, NamedSharding(mesh, P()))
        xs = jax.device_put(xs, NamedSharding(mesh, P(None, "data")))
    start = time.perf_counter()
    lowered = jax.jit(function).lower(params, xs)
    middle = time.perf_counter()
    run = lowered.compile()
    facts = {
        "lower_ms": 1e3 * (middle - start),
        "compile_ms": 1e3 * (time.perf_counter() - middle),
        "peak_memory_mb": _peak_memory(run),
    }
    params, xs = jax.device_put((params, xs), run.input_shardings[0])
    return run(params, xs), lambda: jax.block_until_ready(run(params, xs)), facts


def _peak_memory(run) -> float | None:
    """Peak memory of a compiled function on all of its devices, in MB; None if unknown to XLA."""
    sizes, devices = run.memory_analysis(), len(jax.tree.leaves(run.input_shardings)[0].device_set)
    if sizes is None:
        return None
    parts = (sizes.argument_size_in_bytes, sizes.output_size_in_bytes, sizes.temp_size_in_bytes)
    return (sum(parts) - sizes.alias_size_in_bytes) * devices / 1e6


def job(params, logits_of: Callable, sizes: Sizes, devices: int) -> Callable[..., float]:
    """Build a common training loop: a jitted step for each batch, fed from NumPy arrays.

    Args:
      params: the initial parameters.
      logits_of: (params, images [B, T, D]) -> logits [B, C].
      sizes: the sizes of the job.
      devices: number of devices that share each batch.

    Returns:
      `train(images, labels, indices) -> loss`: takes a step on each batch of `indices` [S, B] and
      returns the loss of the last one.
    """
    optimizer = optax.adam(sizes.learning_rate)

    def step(params, state, images, labels):
        def loss(params):
            logits = logits_of(params, images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        results = jax.value_and_grad(loss)(params)
        value, grads = mean_over_devices(results) if devices > 1 else results
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    if devices > 1:
        specs = (P(), P(), P("data"), P("data"))
        step = jax.shard_map(
            step, mesh=mesh_of(devices), in_specs=specs, out_specs=P(), check_vma=False
        )
    step, state = jax.jit(step), optimizer.init(params)

    def train(images, labels, indices):
        nonlocal params, state
        for batch in indices:
            params, state, loss = step(params, state, images[batch], labels[batch])
        return float(jax.block_until_ready((params, loss))[1])

    return train
