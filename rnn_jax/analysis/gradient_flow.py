"""Gradient flow through time: norms of adjoints and of parameter gradients, for any cell.

All norms are Euclidean and returned as log10. They neither underflow nor overflow: the backward
pass stores adjoints as `Scaled` vectors, with one power of two per example.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from rnn_jax.analysis.extended_range import add, aligned, log10_norm, power_of_two, rebased
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.auto_axes import compiled, explicit_mesh, scan
from rnn_jax.drivers.unroll import unroll
from rnn_jax.errors import InputError
from rnn_jax.numerics import named
from rnn_jax.typing import Array, Carry, Float, Params


class AdjointNorms(NamedTuple):
    """log10 norms of the gradient of a loss L with respect to the carry and input of each step.

    Attributes:
      carry: a carry with fields [T+1, ...]. Row t is log10 ‖∂L/∂carry_t‖ for this field, where
        carry_t is the carry after step t and carry_0 the initial carry.
      xs: [T, ...]. Row t-1 is log10 ‖∂L/∂x_t‖.
    """

    carry: Carry
    xs: Float[Array, "T ..."]


def adjoint_norms(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    d_ys: Float[Array, "T ... H"] | None = None,
    d_carry: Carry | None = None,
    carry: Carry | None = None,
) -> AdjointNorms:
    """Norms of the gradient at each step, for each field of the carry and each example.

        ∂L/∂carry_t = (∂y_t/∂carry_t)ᵀ ∂L/∂y_t + (∂carry_t+1/∂carry_t)ᵀ ∂L/∂carry_t+1

    The derivative is total: it includes all later steps and the output y_t. The fields of a carry
    are independent variables: for an LSTM, ∂L/∂c_t holds h_t constant. In a cell without `readout`
    whose y_t is not a field of the new carry, y_t counts as a function of carry_t-1 and x_t.

    Args:
      cell: any `Cell`.
      params: the parameters, from `cell.init`.
      xs: inputs [T, ..., D], time first.
      d_ys: the partial derivative ∂L/∂ys [T, ..., H]; None means zeros.
      d_carry: the partial derivative by the final carry, fields [..., H]; None means zeros.
      carry: the carry to start from; by default `cell.start(params, ...)`.

    Raises:
      InputError: as `unroll`.
    """
    return _backward(cell, False, *_prepared(cell, params, xs, d_ys, d_carry, carry))[0]


def loss_adjoint_norms(
    loss: Callable[[Carry, Array], Array],
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
) -> AdjointNorms:
    """`adjoint_norms` of the scalar `loss(final carry, ys)`.

    The gradients of a mean over a batch of B are B times smaller than those of one example.

    Raises:
      InputError: as `unroll`.
    """
    if not callable(loss):
        raise InputError(f"loss must be a function of (final carry, ys), got {loss!r}.")
    final, ys = unroll(cell, params, xs, carry, driver="scan")
    value = jax.eval_shape(loss, final, ys)
    if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        got = f"{value.dtype}{list(value.shape)}" if hasattr(value, "dtype") else repr(value)
        raise InputError(f"loss must return one floating-point number, got {got}.")
    pull = jax.grad(loss, argnums=(0, 1))
    # Outside `jit`, JAX does not differentiate on explicit axes of a mesh.
    pull = pull if explicit_mesh(ys) is None else jax.jit(pull)
    d_final, d_ys = pull(final, ys)
    return adjoint_norms(cell, params, xs, d_ys, d_final, carry)


def parameter_norms(cell: Cell, grads: Params) -> dict[str, Float[Array, ""]]:
    """log10 norms of the gradient of each parameter and of its part for each gate, by name.

    An array whose last axis is G*H is also split by gate: `w_h`, then `w_h.i`, `w_h.f`, ...
    """
    require_cell("adjoint_norms", cell, has_params=True)
    return _norms_by_name(cell, grads, jax.tree.map(lambda _: np.int32(0), grads))


def parameter_gradient_norms(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    d_ys: Float[Array, "T ... H"] | None = None,
    d_carry: Carry | None = None,
    carry: Carry | None = None,
) -> dict[str, Float[Array, ""]]:
    """`parameter_norms` of ∂L/∂params, computed without overflow or underflow.

    Arguments and errors are those of `adjoint_norms`. If the gradient is in the range of floats,
    `parameter_norms` of the gradient from training gives the same result at no cost.
    """
    _, grads = _backward(cell, True, *_prepared(cell, params, xs, d_ys, d_carry, carry))
    values = jax.tree.map(lambda p, g: g.value.reshape(np.shape(p)), params, grads)
    return _norms_by_name(cell, values, jax.tree.map(lambda _, g: g.exponent, params, grads))


def log10_mean(log10_values: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """log10 of the mean of 10**log10_values over an axis, e.g. of norms over a batch."""
    log10_values = jnp.asarray(log10_values)
    count = log10_values.shape[axis]
    total = logsumexp(log10_values * math.log(10), axis=axis)
    return total / math.log(10) - math.log10(count)


def _norms_by_name(cell, grads, exponents):
    """`parameter_norms` of the gradients `grads * 2**exponents`."""
    gates, names = getattr(cell, "gates", ()), []
    for name, grad in named(grads).items():
        apart = _has_gates(cell, grad)
        names += [name, *(f"{name}.{gate}" for gate in gates if apart)]
    return dict(zip(names, _norms(cell, grads, exponents), strict=True))


def _has_gates(cell, grad):
    """True if the last axis of an array holds the gates of `cell`, concatenated."""
    width = len(getattr(cell, "gates", ())) * cell.hidden_size
    return width > cell.hidden_size and np.shape(grad)[-1:] == (width,)


@compiled(static=1)
def _norms(cell, grads, exponents):
    """The norm of each gradient, followed by the norms of its gates if it has any."""
    norms = []
    for grad, exponent in zip(jax.tree.leaves(grads), jax.tree.leaves(exponents), strict=True):
        blocks = [jnp.asarray(grad)]
        if _has_gates(cell, grad):
            blocks += jnp.split(blocks[0], len(cell.gates), axis=-1)
        norms += [log10_norm(block.ravel(), exponent) for block in blocks]
    return norms


def _reading(cell, params, carry, x):
    """The function from carry_t to y_t, or None if y_t does not depend on carry_t only."""
    if hasattr(cell, "readout"):
        return cell.readout
    *fields, y = jax.make_jaxpr(cell.step)(params, carry, x).jaxpr.outvars
    where = [i for i, field in enumerate(fields) if field is y]
    return (lambda _, after: jax.tree.leaves(after)[where[0]]) if where else None


def _pulled(pull, cotangents, total):
    """Pull scaled cotangents back through a part of a step, and add up the parameter gradients."""
    values, exponent = aligned(cotangents)
    _, *back = pull(values)
    if total is not None:
        top = jnp.max(exponent, initial=jnp.iinfo(exponent.dtype).min // 2)
        share = power_of_two(exponent - top, values[0].dtype)[..., None]
        d_params, *_ = pull([value * share for value in values])
        total = jax.tree.map(lambda d, t: add(t, rebased(d.ravel(), top)), d_params, total)
    return [rebased(leaf, exponent) for leaf in jax.tree.leaves(back)], total


def _prepared(cell, params, xs, d_ys, d_carry, carry):
    """The arguments of `adjoint_norms`, checked, as `_backward` takes them."""
    run = prepare(cell, params, xs, carry)
    params, xs, start = run.params, run.xs, run.carry
    if d_carry is None:
        final = jax.tree.map(jnp.zeros_like, start)
    else:
        final = prepare(cell, params, xs, d_carry).carry
    if d_ys is not None:
        x = jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)
        _, y = jax.eval_shape(cell.step, params, start, x)
        d_ys = d_ys if isinstance(d_ys, jax.Array) else np.asarray(d_ys)
        if d_ys.shape != (len(xs), *y.shape):
            raise InputError(
                f"d_ys must have the shape of ys, {(len(xs), *y.shape)}, got {d_ys.shape}; "
                "give the gradient of the loss by the outputs of unroll."
            )
        if not jnp.issubdtype(d_ys.dtype, jnp.floating):
            raise InputError(f"d_ys must be floating point, got {d_ys.dtype}.")
        d_ys = jnp.asarray(d_ys, y.dtype)
    return params, start, final, xs, d_ys


@compiled(static=2)
def _backward(cell, weigh, params, start, final, xs, d_ys):
    """The AdjointNorms, and with `weigh` the gradient of each parameter, flat and Scaled."""
    params = jax.tree.map(jnp.asarray, params)
    structure = jax.tree.structure(start)
    read = _reading(cell, params, start, jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype))

    def forward(carry, x):
        return cell.step(params, carry, x)[0], carry

    def advance(params, carry, x):
        after, y = cell.step(params, carry, x)
        return [*jax.tree.leaves(after), *([] if read or d_ys is None else [y])]

    def back(state, inputs):
        adjoints, total = state
        carry, x, d_y = inputs
        after, pull = jax.vjp(advance, params, carry, x)
        fresh = [] if d_y is None else [rebased(d_y)]
        if read and fresh:
            after = jax.tree.unflatten(structure, after)
            _, pull_reading = jax.vjp(lambda p, c, read=read: [read(p, c)], params, after)
            shares, total = _pulled(pull_reading, fresh, total)
            adjoints = [add(a, share) for a, share in zip(adjoints, shares, strict=True)]
            fresh = []
        norms = [log10_norm(*a) for a in adjoints]
        (*adjoints, d_x), total = _pulled(pull, [*adjoints, *fresh], total)
        return (adjoints, total), (norms, log10_norm(*d_x))

    total = jax.tree.map(lambda p: rebased(jnp.zeros(p.size, p.dtype)), params) if weigh else None
    state = [rebased(leaf) for leaf in jax.tree.leaves(final)], total
    _, carries = scan(forward, start, xs)
    (first, total), (norms, x_norms) = scan(back, state, (carries, xs, d_ys), reverse=True)
    rows = [jnp.concatenate([log10_norm(*a)[None], n]) for a, n in zip(first, norms, strict=True)]
    return AdjointNorms(jax.tree.unflatten(structure, rows), x_norms), total
