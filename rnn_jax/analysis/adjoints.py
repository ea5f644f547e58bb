"""The backward pass of any cell in extended range: the adjoint ∂L/∂carry_t of each step.

The adjoints are stored as `Scaled` vectors, with one power of two per example, so that they neither
underflow nor overflow.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.analysis.extended_range import add, aligned, log10_norm, power_of_two, rebased
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.auto_axes import compiled, explicit_mesh, scan
from rnn_jax.drivers.unroll import unroll
from rnn_jax.errors import InputError


def loss_cotangents(loss, cell, params, xs, carry=None):
    """Gradients of `loss(final carry, ys)` with respect to both arguments; checks the loss."""
    if not callable(loss):
        raise InputError(f"loss must be a function of (final carry, ys), got {loss!r}.")
    final, ys = unroll(cell, params, xs, carry, driver="scan")
    value = jax.eval_shape(loss, final, ys)
    if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        got = f"{value.dtype}{list(value.shape)}" if hasattr(value, "dtype") else repr(value)
        raise InputError(f"loss must return one floating-point number, got {got}.")
    pull = jax.grad(loss, argnums=(0, 1))
    # Outside `jit`, JAX does not differentiate over explicit axes of a mesh.
    pull = pull if explicit_mesh(ys) is None else jax.jit(pull)
    return pull(final, ys)


@compiled(static=3)
def backward(cell, record, weigh, params, start, final, xs, d_ys):
    """Records of all adjoints, norms of ∂L/∂x_t, and the gradient of each parameter or None.

    Args:
      cell: any `Cell`.
      record: `record(value, exponent)`, the output for each adjoint: `log10_norm` or `Scaled`.
      weigh: whether to compute the gradients of the parameters, flat and Scaled.
      params, start, final, xs, d_ys: from `prepared`.

    Returns:
      A carry of records [T+1, ...], log10 norms [T, ...], and the gradients.
    """
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
            shares, total = _pulled(cell, pull_reading, fresh, total)
            adjoints = [add(a, share) for a, share in zip(adjoints, shares, strict=True)]
            fresh = []
        records = [record(*a) for a in adjoints]
        (*adjoints, d_x), total = _pulled(cell, pull, [*adjoints, *fresh], total)
        return (adjoints, total), (records, log10_norm(*d_x))

    total = jax.tree.map(lambda p: rebased(jnp.zeros(p.size, p.dtype)), params) if weigh else None
    state = [rebased(leaf) for leaf in jax.tree.leaves(final)], total
    _, carries = scan(forward, start, xs)
    (first, total), (records, x_norms) = scan(back, state, (carries, xs, d_ys), reverse=True)
    rows = jax.tree.map(
        lambda one, others: jnp.concatenate([one[None], others]),
        [record(*a) for a in first],
        records,
    )
    return jax.tree.unflatten(structure, rows), x_norms, total


def _reading(cell, params, carry, x):
    """The function from carry_t to y_t, or None if y_t depends on more than carry_t."""
    if hasattr(cell, "readout"):
        return cell.readout
    *fields, y = jax.make_jaxpr(cell.step)(params, carry, x).jaxpr.outvars
    where = [i for i, field in enumerate(fields) if field is y]
    return (lambda _, after: jax.tree.leaves(after)[where[0]]) if where else None


def _pulled(cell, pull, cotangents, total):
    """Pull scaled cotangents back through part of a step, and accumulate parameter gradients."""
    values, exponent = aligned(cotangents)
    if places := tuple(range(-cell.spatial_axes, 0)):
        # A convolution sums over neighbors: all positions of an example need one exponent.
        top = jnp.max(exponent, axis=places, keepdims=True)
        values = [v * power_of_two(exponent - top, v.dtype)[..., None] for v in values]
        exponent = jnp.broadcast_to(top, exponent.shape)
    _, *back = pull(values)
    if total is not None:
        top = jnp.max(exponent, initial=jnp.iinfo(exponent.dtype).min // 2)
        share = power_of_two(exponent - top, values[0].dtype)[..., None]
        d_params, *_ = pull([value * share for value in values])
        total = jax.tree.map(lambda d, t: add(t, rebased(d.ravel(), top)), d_params, total)
    return [rebased(leaf, exponent) for leaf in jax.tree.leaves(back)], total


def prepared(cell, params, xs, d_ys, d_carry, carry):
    """Check the arguments of `adjoint_norms` and convert them to those of `backward`."""
    run = prepare(cell, params, xs, carry)
    xs, start = run.xs, run.carry
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
