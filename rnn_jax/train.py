"""Training a classifier of sequences: state, batches, and the jitted steps.

One code path for one device and for many: parameters are held whole on every device of the mesh,
a batch is split over its axis `data`, and each step ends in one all-reduce of the gradients.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from rnn_jax.mesh import replicated
from rnn_jax.numerics import all_finite, global_norm
from rnn_jax.typing import Array, Float, Int


class TrainState(NamedTuple):
    """All that a run needs to go on, beside its settings and its data.

    A step whose loss, gradient or update is not finite is skipped: it counts in `step`, and changes
    neither parameters nor the optimizer's state.

    Attributes:
      step: training steps done, the skipped ones among them.
      key: the data of the base key, for `jax.random.wrap_key_data`; what is random in step s is
        drawn from `fold_in(key, s)`.
      skipped: steps skipped in all.
      skipped_in_row: steps skipped since the last good one.
    """

    step: Int[Array, ""]
    params: nnx.State
    opt_state: optax.OptState
    key: Int[Array, " 2"]
    skipped: Int[Array, ""]
    skipped_in_row: Int[Array, ""]


class Metrics(NamedTuple):
    """Of a batch before its update: mean loss [nats], accuracy 0-1, norm of the mean gradient."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    grad_norm: Float[Array, ""]


def init_state(
    create: Callable[[], nnx.Module],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    seed: int = 0,
) -> tuple[nnx.GraphDef, TrainState]:
    """The static definition of the model that `create` makes, and its state on every device.

    All of it is one compiled call, which starts in a third of the time of one call an array.
    """

    def start():
        params = nnx.state(create(), nnx.Param)
        zero, key = jnp.zeros((), jnp.int32), jax.random.key_data(jax.random.key(seed))
        return TrainState(zero, params, optimizer.init(params), key, zero, zero)

    graphdef = nnx.graphdef(nnx.eval_shape(create))
    # On one device, then copied: split over CPU devices, this has been seen to wait for itself.
    state = jax.block_until_ready(jax.jit(start)())
    return graphdef, jax.device_put(state, replicated(mesh))


def loss_and_logits(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    xs: Float[Array, "T B D"],
    labels: Int[Array, " B"],
) -> tuple[Float[Array, ""], Float[Array, "B C"]]:
    """Mean cross-entropy [nats] of a batch, and its logits."""
    logits = nnx.merge(graphdef, params)(xs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits


def make_train_interval(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    max_bad_steps: int = 10,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The jitted function that trains for a whole logging interval in one call.

    Returns:
      `interval(state, xs, labels, indices, steps) -> (state, metrics)`: train `steps` steps on
      xs [N, T, D] with labels [N], step s on the examples `indices[s]`, indices [S, B], steps <= S,
      or until `max_bad_steps` in a row were skipped; `metrics` are those of the last step. `state`
      is donated. The number of steps is no constant, so an interval of another length compiles
      nothing.
    """
    loss_function = functools.partial(loss_and_logits, graphdef)

    def train_step(state, xs, labels):
        (loss, logits), grads = jax.value_and_grad(loss_function, has_aux=True)(
            state.params, xs, labels
        )
        accuracy = (logits.argmax(-1) == labels).mean()
        # One vector, so one rendezvous of the devices a step.
        flat, unravel = ravel_pytree((grads, loss, accuracy))
        grads, loss, accuracy = unravel(jax.lax.pmean(flat, "data"))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        new = optax.apply_updates(state.params, updates), opt_state
        good = all_finite((loss, grads, new))
        new = jax.tree.map(functools.partial(jnp.where, good), new, (state.params, state.opt_state))
        skips = state.skipped + ~good, jnp.where(good, 0, state.skipped_in_row + 1)
        metrics = Metrics(loss, accuracy, global_norm(grads))
        return TrainState(state.step + 1, *new, state.key, *skips), metrics

    def interval(state, xs, labels, indices, steps):
        start = state.step

        def goes_on(carry):
            state, _ = carry
            return (state.step < start + steps) & (state.skipped_in_row < max_bad_steps)

        def body(carry):
            batch = indices[carry[0].step - start]
            return train_step(carry[0], jnp.moveaxis(xs[batch], 0, 1), labels[batch])

        return jax.lax.while_loop(goes_on, body, (state, Metrics(*jnp.zeros(3))))

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
        share = -(-len(xs) // (batch_size * mesh.size)) * batch_size
        padded = jnp.pad(xs, ((0, share * mesh.size - len(xs)), (0, 0), (0, 0)))
        own = jax.lax.dynamic_slice_in_dim(padded, jax.lax.axis_index("data") * share, share)
        batches = own.reshape(-1, batch_size, *xs.shape[1:])
        logits = jax.lax.map(lambda batch: model(jnp.moveaxis(batch, 0, 1)), batches)
        logits = logits.reshape(share, -1)
        return jax.lax.all_gather(logits, "data", tiled=True)[: len(xs)]

    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False))


def evaluate(
    logits: Float[Array, "N C"], labels: Int[Array, " N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross-entropy [nats] and accuracy 0-1 of logits."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), (logits.argmax(-1) == labels).mean()
