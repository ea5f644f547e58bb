"""Training a classifier of sequences: state, batches, and the jitted steps.

One code path for one device and for many: parameters are held whole on every device of the mesh,
a batch is split over its axis `data`, and each step ends in one all-reduce of the gradients.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
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
from rnn_jax.mesh import replicated
from rnn_jax.typing import Array, Float, Int


class TrainState(NamedTuple):
    """All that training changes: with it, the data and the seed, a run can go on."""

    step: Int[Array, ""]
    params: nnx.State
    opt_state: optax.OptState


class Metrics(NamedTuple):
    """Of a batch before its update: mean loss [nats], accuracy 0-1, norm of the mean gradient."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    grad_norm: Float[Array, ""]


def init_state(
    create: Callable[[], nnx.Module], optimizer: optax.GradientTransformation, mesh: Mesh
) -> tuple[nnx.GraphDef, TrainState]:
    """The static definition of the model that `create` makes, and its state on every device.

    All of it is one compiled call, which starts in a third of the time of one call an array.
    """

    def start():
        params = nnx.state(create(), nnx.Param)
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    graphdef = nnx.graphdef(nnx.eval_shape(create))
    # On one device, then copied: split over CPU devices, this has been seen to wait for itself.
    state = jax.block_until_ready(jax.jit(start)())
    return graphdef, jax.device_put(state, replicated(mesh))


@functools.lru_cache(maxsize=8)
def _epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_examples).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class BatchOrder:
    """Which examples make up the batch of each step: a pure function of (seed, step).

    Every epoch visits the examples in a new order, in whole batches; the remainder that does not
    fill one sits the epoch out.

    Raises:
      InputError: a batch larger than the data set.
    """

    seed: int
    num_examples: int
    batch_size: int

    def __post_init__(self):
        if self.batch_size > self.num_examples:
            raise InputError(
                f"a batch of {self.batch_size} is larger than the data set of {self.num_examples} "
                f"examples; take a batch size of at most {self.num_examples}."
            )

    def indices(self, first_step: int, num_steps: int) -> Int[np.ndarray, "{num_steps} B"]:
        """The examples of `num_steps` steps from `first_step` on."""
        return np.stack([self._batch(first_step + i) for i in range(num_steps)])

    def _batch(self, step):
        epoch, batch = divmod(step, self.num_examples // self.batch_size)
        order = _epoch_order(self.seed, epoch, self.num_examples)
        return order[batch * self.batch_size : (batch + 1) * self.batch_size]


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
        metrics = Metrics(loss, accuracy, optax.tree.norm(grads))
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


def compile_timed(function: Callable, *args) -> tuple[Callable, float]:
    """A jitted function compiled for these arguments, and the seconds that took."""
    start = time.perf_counter()
    compiled = function.lower(*args).compile()
    return compiled, time.perf_counter() - start


def fit(
    interval: Callable[..., tuple[TrainState, Metrics]],
    state: TrainState,
    xs: Float[Array, "N T D"],
    labels: Int[Array, " N"],
    order: BatchOrder,
    *,
    steps: int,
    log_every: int,
) -> Iterator[tuple[TrainState, dict[str, float]]]:
    """Train with `interval` until `state.step` is `steps`; after each interval yield state and row.

    A row holds step, examples (seen so far), loss, batch_accuracy, grad_norm (all three of the last
    step's batch, see `Metrics`) and examples_per_second (over the interval).

    Raises:
      InputError: a loss that is not finite.
    """
    done = int(state.step)
    while done < steps:
        start = time.perf_counter()
        count = min(log_every, steps - done)
        indices = order.indices(done, log_every)
        state, metrics = interval(state, xs, labels, indices, count)
        loss, accuracy, grad_norm = (float(value) for value in metrics)
        seconds = time.perf_counter() - start
        if not np.isfinite(loss):
            raise InputError(
                f"the loss became {loss} between step {done} and step {done + count}; "
                "take a lower learning rate."
            )
        done += count
        row = {
            "step": done,
            "examples": done * order.batch_size,
            "loss": loss,
            "batch_accuracy": accuracy,
            "grad_norm": grad_norm,
            "examples_per_second": count * order.batch_size / seconds,
        }
        yield state, row


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
