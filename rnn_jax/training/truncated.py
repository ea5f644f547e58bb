"""Truncated backpropagation through time on a stream, the baseline of online gradients."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnn_jax.cells.array_ops import widest
from rnn_jax.cells.base import Cell
from rnn_jax.drivers.unroll import unroll
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Carry, Params


class TruncatedState(NamedTuple):
    """Parameters, the state of their optimizer, and the carry of the stream.

    Attributes:
      params: (parameters of the cell, head); see `online_gradient`.
      opt_state: the state of the optimizer.
      carry: the carry after the last step.
    """

    params: tuple[Params, Params]
    opt_state: optax.OptState
    carry: Carry


def init_truncated(
    cell: Cell,
    params: tuple[Params, Params],
    optimizer: optax.GradientTransformation,
    batch_shape: tuple[int, ...] = (),
) -> TruncatedState:
    """The state before the first step of a stream."""
    dtype = widest(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(params[0])))
    carry = cell.start(params[0], batch_shape, dtype)
    state = TruncatedState(params, optimizer.init(params), carry)
    # Buffers that the training step donates must be distinct from those of the caller.
    return jax.tree.map(jnp.array, state)


def make_truncated_step(
    loss: Callable, cell: Cell, optimizer: optax.GradientTransformation, window: int
) -> Callable:
    """A compiled function `step(state, xs, data=None)`, used like that of `make_online_step`.

    The parameters are updated after every `window` steps, with the gradient by backpropagation
    through these steps alone. The carry continues from window to window. Working memory is
    proportional to `window`; a window of T steps means backpropagation through all of them.

    Args:
      loss, cell: as in `rnn_jax.analysis.online_gradients.online_gradient`.
      optimizer: any Optax optimizer.
      window: steps between updates.

    Raises:
      InputError: `window` is not a positive integer; when called, it does not divide T.
    """
    check_size("window", window)

    def window_loss(params, carry, xs, data):
        carry, ys = unroll(cell, params[0], xs, carry, driver="scan")
        losses = jax.vmap(partial(loss, params[1]))(ys, data)
        return losses.sum(), carry

    @partial(jax.jit, donate_argnums=0)
    def step(state, xs, data=None):
        if len(xs) % window:
            raise InputError(f"window must divide the number of steps, got {window} for {len(xs)}.")

        def update(loop, _):
            state, first = loop
            inputs = jax.tree.map(
                lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, window), (xs, data)
            )
            gradient = jax.value_and_grad(window_loss, has_aux=True)
            (value, carry), grads = gradient(state.params, state.carry, *inputs)
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params: Any = optax.apply_updates(state.params, updates)
            return (TruncatedState(params, opt_state, carry), first + window), value

        windows = len(xs) // window
        (state, _), losses = jax.lax.scan(update, (state, jnp.int32(0)), length=windows)
        return state, losses

    return step
