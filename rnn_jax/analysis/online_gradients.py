"""Gradients of a recurrent cell computed forward in time, with memory constant in T.

An estimator keeps a trace for each example: the influence of the parameters on the carry, exact or
approximate. No step is visited twice, and no carry is stored.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.analysis.online_estimators import Estimator
from rnn_jax.cells.array_ops import widest
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import require_cell
from rnn_jax.cells.gate_params import check_key
from rnn_jax.drivers.arguments import as_mask, prepare
from rnn_jax.drivers.auto_axes import scan
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Bool, Carry, Data, Float, Int, Key, Params


class OnlineState(NamedTuple):
    """Everything the next step of a stream needs from the past.

    Attributes:
      carry: the carry after the last step, fields [..., H].
      trace: the trace of the estimator, arrays [..., *] with the batch dimensions in front.
      key: the base key of the estimator's noise.
      count: the number of steps so far.
    """

    carry: Carry
    trace: Any
    key: Key[Array, ""]
    count: Int[Array, ""]


def online_start(
    estimator: Estimator,
    cell: Cell,
    params: Params,
    batch_shape: tuple[int, ...] = (),
    *,
    key: Key[Array, ""] | None = None,
) -> OnlineState:
    """The state before the first step: `cell.start` and its trace.

    Args:
      estimator: an estimator such as `RTRL()`.
      cell: any `Cell`.
      params: the parameters, from `cell.init`, float32 or wider.
      batch_shape: the shape of an input x [..., D] without its features.
      key: a key for the noise of the estimator; by default `jax.random.key(0)`.

    Raises:
      InputError: not a cell or an estimator; parameters whose dtype differs from the carry's.
    """
    require_cell("online_start", cell, has_params=True)
    if not isinstance(estimator, Estimator):
        raise InputError(
            f"estimator must be an object such as RTRL() or SnAp1(), got {estimator!r}."
        )
    key = jax.random.key(0) if key is None else key
    check_key(key)
    dtype = widest(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(params)))
    if odd := [leaf.dtype.name for leaf in jax.tree.leaves(params) if leaf.dtype != dtype]:
        raise InputError(
            f"online gradients need all params in {dtype.name}, got some in {odd[0]}; "
            "convert them with astype."
        )
    carry = cell.start(params, batch_shape, dtype)
    # `sampled` computes parameters that are the same at every step; the inputs do not matter.
    cell, params, _ = cell.sampled(params, jnp.zeros((1, *batch_shape, 1), dtype), None)
    count = jnp.zeros((), jnp.int32)
    return OnlineState(carry, _fresh(estimator, cell, params, batch_shape, key), key, count)


def online_gradient(
    loss: Callable[[Params, Float[Array, "... O"], Data], Float[Array, ""]],
    estimator: Estimator,
    cell: Cell,
    params: tuple[Params, Params],
    state: OnlineState,
    xs: Float[Array, "T ... D"],
    data: Data = None,
    *,
    mask: Bool[Array, "T ..."] | None = None,
    resets: Bool[Array, "T ..."] | None = None,
) -> tuple[Float[Array, ""], tuple[Params, Params], OnlineState]:
    """The loss of the next T steps of a stream, and an estimate of its gradient.

        L = sum_t loss(head, y_t, data_t)
        dL/dparams = sum_t ∂L_t/∂params + (∂L_t/∂carry_t) M_t,     M_t = dcarry_t/dparams

    The estimator tracks M_t. It extends back over earlier calls, to the start of the stream or the
    last reset. With `RTRL` from `online_start`, value and gradient are those of `unroll` and
    `jax.grad`. If params change between calls, M_t mixes derivatives at old and new params.

    When compiled, it needs working memory that does not depend on T. Cells run without noise, like
    `unroll` without a key.

    Args:
      loss: `loss(head, y, data)`, a scalar: the loss of one step, from outputs y [..., O].
      estimator: the estimator of `state`.
      cell: the cell of `state`.
      params: (parameters of the cell, head). The head is a pytree of additional parameters, such as
        an output matrix, or ().
      state: from `online_start` or from the previous call.
      xs: inputs [T, ..., D], time first.
      data: a pytree of arrays [T, ...], such as targets; `loss` receives one step of it.
      mask, resets: as in `unroll`. An invalid step leaves the state unchanged.

    Returns:
      L, the gradients of the parameters of the cell and the head, and the new state.

    Raises:
      InputError: as in `unroll`; a cell that the estimator does not support.
    References: Williams, Zipser (1989), "A learning algorithm for continually running fully
    recurrent neural networks".
    """
    cell_params, head = params
    run = prepare(cell, cell_params, xs, state.carry)
    # Wrappers may compute parameters once per run; the trace is that of the computed ones.
    used, to_given = jax.vjp(
        lambda given: prepare(cell, given, xs, state.carry).params, cell_params
    )
    cell, xs = run.cell, run.xs
    batch_shape = xs.shape[1:-1]
    shape = xs.shape[: xs.ndim - 1 - cell.spatial_axes]
    keep = None if mask is None else as_mask("mask", mask, shape)
    reset = None if resets is None else as_mask("resets", resets, shape)
    if keep is not None and reset is not None:
        reset = reset * keep
    value_and_grad = jax.value_and_grad(loss, argnums=(0, 1))

    def pull(carry, after, trace, trace_after, x, d_y):
        """Parameter gradients of one example, from the gradient of its output."""
        if isinstance(cell, GatedCell):
            trace = trace_after
            _, back = jax.vjp(cell.readout, used, after)
        else:
            _, back = jax.vjp(lambda p, c: cell.step(p, c, x)[1], used, carry)
        direct, d_carry = back(d_y)
        return jax.tree.map(jnp.add, direct, estimator.pull(cell, used, trace, x, d_carry))

    def advance(carry, trace, x, key):
        after, y = cell.step(used, carry, x)
        return after, estimator.step(cell, used, trace, carry, x, key), y

    def body(loop, inputs):
        carry, trace, count, total, grads = loop
        x, data, keep, reset = inputs
        key_start, key = jax.random.split(jax.random.fold_in(state.key, count))
        if reset is not None:
            start = cell.start(used, batch_shape, jax.tree.leaves(carry)[0].dtype)
            fresh = _fresh(estimator, cell, used, batch_shape, key_start)
            carry, trace = _where(reset, (start, fresh), (carry, trace))
        if keep is not None:
            x = _where(keep, x, jnp.zeros_like(x))
        over = _over_batch(advance, shape[1:])
        after, trace_after, y = over(carry, trace, x, jax.random.split(key, shape[1:]))
        if keep is not None:
            y = _where(keep, y, jnp.zeros_like(y))
        value, (d_head, d_y) = value_and_grad(head, y, data)
        if keep is not None:
            d_y = _where(keep, d_y, jnp.zeros_like(d_y))
        each = _over_batch(pull, shape[1:])(carry, after, trace, trace_after, x, d_y)
        step = jax.tree.map(lambda leaf: leaf.sum(tuple(range(len(shape) - 1))), each)
        if keep is not None:
            after, trace_after = _where(keep, (after, trace_after), (carry, trace))
        grads = jax.tree.map(jnp.add, grads, (step, d_head))
        return (after, trace_after, count + 1, total + value, grads), None

    zeros = jax.tree.map(jnp.zeros_like, (used, head))
    total = jnp.zeros((), jax.tree.leaves(run.carry)[0].dtype)
    loop = run.carry, state.trace, state.count, total, zeros
    (carry, trace, count, total, grads), _ = scan(body, loop, (xs, data, keep, reset))
    (by_cell,) = to_given(grads[0])
    return total, (by_cell, grads[1]), OnlineState(carry, trace, state.key, count)


def _fresh(estimator, cell, params, batch_shape, key):
    """The trace of `cell.start` for every example."""
    split = len(batch_shape) - cell.spatial_axes
    places = batch_shape[split:]
    keys = jax.random.split(key, batch_shape[:split])
    one = lambda key: estimator.init(cell, params, places, key)  # noqa: E731
    return _over_batch(one, batch_shape[:split])(keys)


def _over_batch(function, batch_shape):
    """Map a `function` of one example over leading batch dimensions."""
    for _ in batch_shape:
        function = jax.vmap(function)
    return function


def _where(chosen, new, old):
    """`new` for examples where `chosen` is 1, otherwise `old`."""

    def leaf(a, b):
        return jnp.where(chosen.reshape(*chosen.shape, *(1,) * (a.ndim - chosen.ndim)) > 0, a, b)

    return jax.tree.map(leaf, new, old)
