"""Training state: parameters, optimizer state, and everything else that a run needs to continue."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from rnn_jax.training.devices.sharding import replicated
from rnn_jax.typing import Array, Carry, Data, Int, Key


class TrainState(NamedTuple):
    """Everything that a run needs to continue, except its settings and its data.

    A step whose loss, gradient, update or carry is not finite is skipped: it counts in `step`, and
    changes neither the parameters nor the optimizer state nor the carry.

    Attributes:
      step: training steps done, including skipped ones.
      key: the data of the base key, for `jax.random.wrap_key_data`; randomness of step s comes
        from `fold_in(key, s)`.
      skipped: steps skipped in total.
      skipped_in_row: steps skipped since the last good one.
      carry: output of the last good step for the next one, arrays [B, ...], such as a recurrent
        carry; an empty tuple for losses without a carry.
    """

    step: Int[Array, ""]
    params: nnx.State
    opt_state: optax.OptState
    key: Int[Array, " 2"]
    skipped: Int[Array, ""]
    skipped_in_row: Int[Array, ""]
    carry: Carry = ()


def first_state(
    params: nnx.State, optimizer: optax.GradientTransformation, seed: int | Int[Array, ""]
) -> TrainState:
    """The state before the first step, without a carry."""
    zero, key = jnp.zeros((), jnp.int32), jax.random.key_data(jax.random.key(seed))
    return TrainState(zero, params, optimizer.init(params), key, zero, zero)


def init_state(
    create: Callable[[], nnx.Module],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    seed: int = 0,
    carry: Carry = (),
) -> tuple[nnx.GraphDef, TrainState]:
    """The graph definition of the model that `create()` returns, and the state on every device.

    Args:
      create: returns a newly initialized model.
      optimizer: any Optax optimizer.
      mesh: devices with the axis `data`; see `data_mesh`.
      seed: seed of the base key.
      carry: the carry of the first step, arrays [B, ...], for a loss with a carry.
    """

    def start():
        return first_state(nnx.state(create(), nnx.Param), optimizer, seed)

    graphdef = nnx.graphdef(nnx.eval_shape(create))
    # One compiled call takes a third of the time of one call per array. It runs on one device, and
    # the result is copied: split over CPU devices, it has been observed to deadlock.
    state = jax.block_until_ready(jax.jit(start)())
    # Donated buffers must be distinct, and the zeros of an initial carry may share one.
    state = state._replace(carry=jax.tree.map(jnp.array, carry))
    return graphdef, jax.device_put(state, replicated(mesh))


def model_of(graphdef: nnx.GraphDef, state: TrainState) -> nnx.Module:
    """The trained model on the default device."""
    return nnx.merge(graphdef, jax.device_put(jax.device_get(state.params)))


def batch_of(data: Data, indices: Int[Array | np.ndarray, " B"]) -> Data:
    """The examples `indices` of every array of a data set."""
    return jax.tree.map(lambda leaf: leaf[indices], data)


def example_keys(state: TrainState, places: Int[Array, " B"]) -> Key[Array, " B"]:
    """A random key for each of the given positions in the batch of the next step."""
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, places)
