"""Training of any model by any loss function: state, gradient, and the jitted steps.

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

from rnn_jax.numerics import all_finite, global_norm
from rnn_jax.training.devices.sharding import replicated
from rnn_jax.typing import Array, Data, Float, Int, Key, Memory, Params

Loss = Callable[..., tuple[Float[Array, ""], tuple[dict[str, Float[Array, ""]], Memory]]]
"""`loss(model, batch, keys, memory) -> (loss, (metrics, memory))`, a mean over the batch.

`batch` is the data of the step's examples [B, ...], `keys` [B] a random key for each of them, which
does not depend on the number of devices; `metrics` are more means over the batch, by name, and
`memory` is what the next step is to find as its memory.
"""


class TrainState(NamedTuple):
    """All that a run needs to go on, beside its settings and its data.

    A step whose loss, gradient, update or memory is not finite is skipped: it counts in `step`, and
    changes neither parameters nor the optimizer's state nor the memory.

    Attributes:
      step: training steps done, the skipped ones among them.
      key: the data of the base key, for `jax.random.wrap_key_data`; what is random in step s is
        drawn from `fold_in(key, s)`.
      skipped: steps skipped in all.
      skipped_in_row: steps skipped since the last good one.
      memory: what the last good step left for the next, arrays [B, ...], e.g. a recurrent carry.
    """

    step: Int[Array, ""]
    params: nnx.State
    opt_state: optax.OptState
    key: Int[Array, " 2"]
    skipped: Int[Array, ""]
    skipped_in_row: Int[Array, ""]
    memory: Memory = ()


def first_state(
    params: nnx.State, optimizer: optax.GradientTransformation, seed: int | Int[Array, ""]
) -> TrainState:
    """The state before the first step, with nothing as its memory."""
    zero, key = jnp.zeros((), jnp.int32), jax.random.key_data(jax.random.key(seed))
    return TrainState(zero, params, optimizer.init(params), key, zero, zero)


def init_state(
    create: Callable[[], nnx.Module],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    seed: int = 0,
    memory: Memory = (),
) -> tuple[nnx.GraphDef, TrainState]:
    """The static definition of the model that `create` makes, and its state on every device.

    `memory` is what the first step finds as its memory.

    All of it is one compiled call, which starts in a third of the time of one call an array.
    """

    def start():
        return first_state(nnx.state(create(), nnx.Param), optimizer, seed)

    graphdef = nnx.graphdef(nnx.eval_shape(create))
    # On one device, then copied: split over CPU devices, this has been seen to wait for itself.
    state = jax.block_until_ready(jax.jit(start)())
    # What is donated later must not be one buffer twice, as an initial carry's zeros may be.
    state = state._replace(memory=jax.tree.map(jnp.array, memory))
    return graphdef, jax.device_put(state, replicated(mesh))


def make_gradient(graphdef: nnx.GraphDef, loss: Loss) -> Callable:
    """`gradient(params, batch, keys, memory) -> ((loss, (metrics, memory)), grads)`; see `Loss`."""

    def of_params(params, *args):
        return loss(nnx.merge(graphdef, params), *args)

    return jax.value_and_grad(of_params, has_aux=True)


def batch_of(data: Data, indices: Int[Array | np.ndarray, " B"]) -> Data:
    """The examples `indices` of every array of a data set."""
    return jax.tree.map(lambda leaf: leaf[indices], data)


def example_keys(state: TrainState, places: Int[Array, " B"]) -> Key[Array, " B"]:
    """A random key for each of the places in the batch of the step that comes next."""
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, places)


def make_train_interval(
    gradient: Callable,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    max_bad_steps: int = 10,
) -> Callable[..., tuple[TrainState, dict[str, Float[Array, ""]]]]:
    """The jitted function that trains for a whole logging interval in one call.

    Args:
      gradient: that of the loss function, see `make_gradient`.
      optimizer: what makes an update of the mean gradient.
      mesh: the devices.
      max_bad_steps: how many steps in a row may be skipped before training ends.

    Returns:
      `interval(state, data, indices, steps) -> (state, metrics)`: train `steps` steps on a pytree
      of arrays [N, ...], step s on the examples `indices[s]`, indices [S, B], steps <= S, or until
      `max_bad_steps` in a row were skipped. `metrics` are those of the last step's batch before its
      update: loss, what the loss function adds, and grad_norm, the norm of the mean gradient.
      `state` is donated. The number of steps is no constant, so an interval of another length
      compiles nothing.
    """

    def train_step(state, data, indices):
        places = jax.lax.axis_index("data") * len(indices) + jnp.arange(len(indices))
        keys = example_keys(state, places)
        (loss, (metrics, memory)), grads = gradient(
            state.params, batch_of(data, indices), keys, state.memory
        )
        # One vector, so one rendezvous of the devices a step.
        whole = all_finite(memory).astype(loss.dtype)
        flat, unravel = ravel_pytree((grads, loss, metrics, whole))
        grads, loss, metrics, whole = unravel(jax.lax.pmean(flat, "data"))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        good = all_finite((loss, grads, params, opt_state)) & (whole == 1)
        new, old = (params, opt_state, memory), (state.params, state.opt_state, state.memory)
        params, opt_state, memory = jax.tree.map(functools.partial(jnp.where, good), new, old)
        skips = state.skipped + ~good, jnp.where(good, 0, state.skipped_in_row + 1)
        state = TrainState(state.step + 1, params, opt_state, state.key, *skips, memory)
        return state, {"loss": loss, **metrics, "grad_norm": global_norm(grads)}

    def interval(state, data, indices, steps):
        start = state.step

        def goes_on(carry):
            state, _ = carry
            return (state.step < start + steps) & (state.skipped_in_row < max_bad_steps)

        def body(carry):
            return train_step(carry[0], data, indices[carry[0].step - start])

        _, shapes = jax.eval_shape(train_step, state, data, indices[0])
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.while_loop(goes_on, body, (state, nothing))

    # Outside of the call the memory too is whole on every device: any process can save it alone.
    whole = TrainState(*[P()] * len(TrainState._fields))
    split = whole._replace(memory=P("data"))
    return jax.jit(
        jax.shard_map(
            interval,
            mesh=mesh,
            in_specs=(split, P(), P(None, "data"), P()),
            out_specs=(split, P()),
            check_vma=False,
        ),
        out_shardings=replicated(mesh),
        donate_argnums=0,
    )


def make_predict(
    graphdef: nnx.GraphDef,
    predict: Callable[[nnx.Module, Data], Data],
    mesh: Mesh,
    batch_size: int = 500,
) -> Callable[[Params, Data], Data]:
    """The jitted function that lets a model work through all of a data set.

    Args:
      graphdef: the static definition of the model.
      predict: `predict(model, batch) -> outputs`, arrays [B, ...] from arrays [B, ...].
      mesh: the devices.
      batch_size: examples to work through at a time on each device, fewer if there are fewer.

    Returns:
      `(params, data) -> outputs`, arrays [N, ...] from arrays [N, ...], for any N.
    """

    def local(params, data):
        model = nnx.merge(graphdef, params)
        count = len(jax.tree.leaves(data)[0])
        size = min(batch_size, -(-count // mesh.size))
        share = -(-count // (size * mesh.size)) * size

        def own_batches(leaf):
            padding = [(0, share * mesh.size - count)] + [(0, 0)] * (leaf.ndim - 1)
            start = jax.lax.axis_index("data") * share
            own = jax.lax.dynamic_slice_in_dim(jnp.pad(leaf, padding), start, share)
            return own.reshape(-1, size, *leaf.shape[1:])

        def gathered(leaf):
            leaf = leaf.reshape(share, *leaf.shape[2:])
            return jax.lax.all_gather(leaf, "data", tiled=True)[:count]

        batches = jax.tree.map(own_batches, data)
        outputs = jax.lax.map(lambda batch: predict(model, batch), batches)
        return jax.tree.map(gathered, outputs)

    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False))
