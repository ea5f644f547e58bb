"""Training a classifier of sequences: state, batches, and the jitted steps.

One code path for one device and for many: parameters are held whole on every device of the mesh,
a batch is split over its axis `data`, and each step ends in one all-reduce of the gradients.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Int


class TrainState(NamedTuple):
    """All that training changes: with it, the data and the seed, a run can go on."""

    step: Int[Array, ""]
    params: nnx.State
    opt_state: optax.OptState


class Metrics(NamedTuple):
    """Of one batch, before its update: mean loss [nats], accuracy 0-1, norm of the mean gradient."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    grad_norm: Float[Array, ""]


def init_state(
    model: nnx.Module, optimizer: optax.GradientTransformation
) -> tuple[nnx.GraphDef, TrainState]:
    """Split a model into its static definition and the state to train."""
    graphdef, params = nnx.split(model, nnx.Param)
    return graphdef, TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


@functools.lru_cache(maxsize=8)
def _epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_examples).astype(np.int32)


def batch_indices(
    seed: int, first_step: int, num_steps: int, num_examples: int, batch_size: int
) -> Int[np.ndarray, "{num_steps} {batch_size}"]:
    """Which examples make up the batches of `num_steps` steps: a pure function of (seed, step).

    Every epoch visits the examples in a new order, in whole batches; the remainder that does not
    fill one sits the epoch out.

    Raises:
      InputError: a batch larger than the data set.
    """
    per_epoch = num_examples // batch_size
    if not per_epoch:
        raise InputError(
            f"a batch of {batch_size} is larger than the data set of {num_examples} examples; "
            f"take a batch size of at most {num_examples}."
        )
    rows = []
    for step in range(first_step, first_step + num_steps):
        epoch, batch = divmod(step, per_epoch)
        order = _epoch_order(seed, epoch, num_examples)
        rows.append(order[batch * batch_size : (batch + 1) * batch_size])
    return np.stack(rows)


def make_train_interval(
    graphdef: nnx.GraphDef, optimizer: optax.GradientTransformation, mesh: Mesh
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The jitted function that trains for a whole logging interval in one call.

    Returns:
      `interval(state, xs, labels, indices, steps) -> (state, metrics)`: train `steps` steps on
      xs [N, T, D] with labels [N], step s on the examples `indices[s]`, indices [S, B], steps <= S;
      `metrics` are those of the last step. `state` is donated. The number of steps is no constant,
      so an interval of another length compiles nothing.
    """

    def loss_and_logits(params, xs, labels):
        logits = nnx.merge(graphdef, params)(xs)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), logits

    def train_step(state, xs, labels):
        (loss, logits), grads = jax.value_and_grad(loss_and_logits, has_aux=True)(
            state.params, xs, labels
        )
        accuracy = (logits.argmax(-1) == labels).mean()
        # One vector, so one rendezvous of the devices a step.
        flat, unravel = ravel_pytree((grads, loss, accuracy))
        grads, loss, accuracy = unravel(jax.lax.pmean(flat, "data"))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = Metrics(loss, accuracy, optax.global_norm(grads))
        return TrainState(state.step + 1, params, opt_state), metrics

    def interval(state, xs, labels, indices, steps):
        def body(i, carry):
            batch = indices[i]
            return train_step(carry[0], jnp.moveaxis(xs[batch], 0, 1), labels[batch])

        return jax.lax.fori_loop(0, steps, body, (state, Metrics(*jnp.zeros(3))))

    return jax.jit(
        jax.shard_map(
            interval,
            mesh=mesh,
            in_specs=(P(), P(), P(), P(None, "data"), P()),
            out_specs=P(),
            check_vma=False,
        ),
        donate_argnums=0,
    )


def make_predict(
    graphdef: nnx.GraphDef, mesh: Mesh, batch_size: int = 500
) -> Callable[[nnx.State, Float[Array, "N T D"]], Float[Array, "N C"]]:
    """The jitted function `predict(params, xs [N, T, D]) -> logits [N, C]`, for any N.

    It works through `batch_size` examples at a time on each device.
    """

    def local(params, xs):
        model = nnx.merge(graphdef, params)
        batches = xs.reshape(-1, batch_size, *xs.shape[1:])
        logits = jax.lax.map(lambda batch: model(jnp.moveaxis(batch, 0, 1)), batches)
        return logits.reshape(len(xs), -1)

    split = jax.shard_map(
        local, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=False
    )

    @jax.jit
    def predict(params, xs):
        filler = -len(xs) % (batch_size * mesh.size)
        padded = jnp.pad(xs, ((0, filler), (0, 0), (0, 0)))
        return split(params, padded)[: len(xs)]

    return predict


def evaluate(
    logits: Float[Array, "N C"], labels: Int[Array, " N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy [nats] and accuracy 0-1 of logits."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), (logits.argmax(-1) == labels).mean()
