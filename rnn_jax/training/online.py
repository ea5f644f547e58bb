"""Training steps that see each input once: updates while a stream continues."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnn_jax.analysis.online_estimators import Estimator
from rnn_jax.analysis.online_gradients import OnlineState, online_gradient, online_start
from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Key, Params


class OnlineTrainState(NamedTuple):
    """Parameters, the state of their optimizer, and the state of the stream.

    Attributes:
      params: (parameters of the cell, head); see `online_gradient`.
      opt_state: the state of the optimizer.
      stream: the carry and the trace after the last step.
    """

    params: tuple[Params, Params]
    opt_state: optax.OptState
    stream: OnlineState


def init_online(
    estimator: Estimator,
    cell: Cell,
    params: tuple[Params, Params],
    optimizer: optax.GradientTransformation,
    batch_shape: tuple[int, ...] = (),
    *,
    key: Key[Array, ""] | None = None,
) -> OnlineTrainState:
    """The state before the first step of a stream; the arguments are those of `online_start`."""
    stream = online_start(estimator, cell, params[0], batch_shape, key=key)
    # Buffers that the training step donates must be distinct from those of the caller.
    state = OnlineTrainState(params, optimizer.init(params), stream)
    return jax.tree.map(jnp.array, state)


def make_online_step(
    loss: Callable,
    estimator: Estimator,
    cell: Cell,
    optimizer: optax.GradientTransformation,
    update_every: int = 1,
) -> Callable:
    """A compiled function `step(state, xs, data=None, mask=None, resets=None)`.

    It takes the next T steps of a stream, xs [T, ..., D], with an update after every
    `update_every` of them, which must divide T. It returns the new state and the losses of the
    windows, [T / update_every], each the sum over its steps. `state` is donated.

    Carry and trace continue from window to window and from call to call, so a stream may be fed in
    pieces of any length; working memory depends on neither their length nor that of a window. The
    trace is not recomputed after an update: it mixes derivatives at old and new parameters, which
    is accurate while parameters change slowly compared with the memory of the cell. Resets in the
    data clear it.

    Args:
      loss, estimator, cell: as in `online_gradient`.
      optimizer: any Optax optimizer; it receives the gradient of a window.
      update_every: steps between updates; T updates once, at the end.

    Raises:
      InputError: `update_every` is not a positive integer; when called, it does not divide T, or
        as for `online_gradient`.
    """
    check_size("update_every", update_every)

    @partial(jax.jit, donate_argnums=0)
    def step(state, xs, data=None, mask=None, resets=None):
        steps, given = len(xs), jax.tree.map(jnp.asarray, (xs, data, mask, resets))
        if steps % update_every:
            raise InputError(
                f"update_every must divide the number of steps, got {update_every} for {steps}."
            )

        def window(loop, _):
            state, first = loop
            # A reshape to windows would copy the inputs in some layouts.
            xs, data, mask, resets = jax.tree.map(
                lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, update_every), given
            )
            value, grads, stream = online_gradient(
                loss,
                estimator,
                cell,
                state.params,
                state.stream,
                xs,
                data,
                mask=mask,
                resets=resets,
            )
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params: Any = optax.apply_updates(state.params, updates)
            return (OnlineTrainState(params, opt_state, stream), first + update_every), value

        windows = steps // update_every
        (state, _), losses = jax.lax.scan(window, (state, jnp.int32(0)), length=windows)
        return state, losses

    return step
