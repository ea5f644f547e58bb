"""A regularizer that preserves the norm of the backpropagated error, for any cell."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rnn_jax.analysis.adjoints import backward, loss_cotangents, prepared
from rnn_jax.analysis.extended_range import Scaled, power_of_two
from rnn_jax.cells.base import Cell
from rnn_jax.drivers.auto_axes import compiled, scan
from rnn_jax.typing import Array, Carry, Float, Params


def norm_preserving_regularizer(
    loss: Callable[[Carry, Array], Array],
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
) -> Float[Array, "..."]:
    """Penalty on steps that shrink or stretch the backpropagated error, one for each example.

        Ω = Σ_t (‖J_tᵀ a_t‖ / ‖a_t‖ - 1)²      a_t = ∂E/∂carry_t      J_t = ∂carry_t/∂carry_t-1

    E is the loss, and the fields of a carry count as one vector. Add the mean of Ω over the batch,
    times a factor, to the loss.

    The gradient of Ω is the one that the paper calls immediate: a_t, carry_t-1 and x_t are
    constants, and only the parameters inside J_t are differentiated. It is therefore not the
    gradient of the value as a function of the parameters, and Ω has no gradient with respect to
    xs, carry or anything `loss` depends on. A step whose a_t is zero adds nothing to Ω.

    Args:
      loss: a scalar function of the final carry and ys [T, ..., H]. Its scale does not matter.
      cell: any `Cell`.
      params: the parameters, from `cell.init`.
      xs: inputs [T, ..., D], time first.
      carry: the carry to start from; by default `cell.start(params, ...)`.

    Raises:
      InputError: as in `unroll`; a loss that does not return one floating-point number.
    Reference: Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural
    networks".
    """
    fixed = jax.lax.stop_gradient((params, xs, carry))
    d_final, d_ys = jax.lax.stop_gradient(loss_cotangents(loss, cell, *fixed))
    fixed_params, xs, carry = fixed
    run = prepared(cell, fixed_params, xs, d_ys, d_final, carry)
    adjoints, *_ = backward(cell, Scaled, False, *run)
    fixed_params, start, _, xs, _ = run
    return _sum_of_penalties(cell, params, fixed_params, start, xs, adjoints)


@compiled(static=1)
def _sum_of_penalties(cell, params, fixed_params, start, xs, adjoints):
    """Ω with a gradient for `params` only; the constants are computed from `fixed_params`."""
    _, carries = scan(lambda c, x: (cell.step(fixed_params, c, x)[0], c), start, xs)
    after = jax.tree.map(lambda row: row[1:], adjoints)
    unit = _unit(after, cell.spatial_axes)

    def penalty(carry, x, unit):
        _, pull = jax.vjp(lambda carry: cell.step(params, carry, x)[0], carry)
        (before,) = pull(unit)
        square, nonzero = (_squares(tree, cell.spatial_axes) for tree in (before, unit))
        # The norm of a vector of zeros has no derivative.
        norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        return jnp.where(nonzero > 0, (norm - 1) ** 2, 0)

    return jax.vmap(penalty)(carries, xs, unit).sum(0)


def _unit(adjoints, spatial_axes):
    """Carries [T, ..., H] of norm 1 in the direction of `Scaled` ones, or of zeros."""
    fields, structure = jax.tree.flatten(adjoints, is_leaf=lambda leaf: isinstance(leaf, Scaled))
    places = tuple(range(-spatial_axes, 0))
    tops = [jnp.max(field.exponent, axis=places, keepdims=True) for field in fields]
    top = jnp.max(jnp.stack(tops), axis=0)
    values = [f.value * power_of_two(f.exponent - top, f.value.dtype)[..., None] for f in fields]
    square = _squares(values, spatial_axes)
    scale = jax.lax.rsqrt(jnp.where(square > 0, square, 1))
    scale = scale.reshape(*scale.shape, *(1,) * (spatial_axes + 1))
    return structure.unflatten([value * scale for value in values])


def _squares(carry, spatial_axes):
    """The squared norm of each example, over places, units and fields."""
    axes = tuple(range(-spatial_axes - 1, 0))
    return sum(jnp.sum(field * field, axis=axes) for field in jax.tree.leaves(carry))
