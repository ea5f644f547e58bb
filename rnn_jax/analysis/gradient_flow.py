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

from rnn_jax.analysis.adjoints import backward, loss_cotangents, prepared
from rnn_jax.analysis.extended_range import log10_norm
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers.auto_axes import compiled
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
      d_carry: the partial derivative ∂L/∂carry_T, fields [..., H]; None means zeros.
      carry: the carry to start from; by default `cell.start(params, ...)`.

    Raises:
      InputError: as in `unroll`.
    """
    run = prepared(cell, params, xs, d_ys, d_carry, carry)
    rows, x_norms, _ = backward(cell, log10_norm, False, *run)
    return AdjointNorms(rows, x_norms)


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
      InputError: as in `unroll`.
    """
    d_final, d_ys = loss_cotangents(loss, cell, params, xs, carry)
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
    `parameter_norms` of the gradient from training gives the same result at no extra cost.
    """
    run = prepared(cell, params, xs, d_ys, d_carry, carry)
    *_, grads = backward(cell, log10_norm, True, *run)
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
