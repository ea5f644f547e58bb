"""A cell linearized around a trajectory: Jacobians of all steps, their recurrences, the adjoint.

States are the concatenated fields of the carry, [T, ..., n]. The Jacobian of a step is a matrix
[n, n] or its diagonal [n].
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import expand, join_fields
from rnn_jax.cells.base import Cell
from rnn_jax.drivers.associative import elementwise_scan
from rnn_jax.typing import Array, Carry, Float, Inputs, Params

Backward = Literal["matrix", "diagonal", "sequential"]


def split_fields(flat: Float[Array, "... n"], like: Carry) -> Carry:
    """The inverse of `join_fields`: a carry with the field widths of `like`."""
    leaves, structure = jax.tree.flatten(like)
    widths = [leaf.shape[-1] for leaf in leaves]
    ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
    return structure.unflatten(jnp.split(flat, ends, axis=-1))


def flat_step(
    cell: Cell, like: Carry, params: Params, flat: Float[Array, "... n"], x: Inputs
) -> Float[Array, "... n"]:
    """The state after a step, from the state before it; `like` is a carry with its widths."""
    return join_fields(cell.step(params, split_fields(flat, like), x)[0])


def shifted(start: Float[Array, "... n"], states: Float[Array, "T ... n"]) -> Array:
    """The state before each step."""
    return jnp.concatenate([start[None], states[:-1]])


def outputs(cell: Cell, params: Params, carry: Carry, states: Carry, xs: Inputs):
    """The final carry and ys [T, ..., O], from the carry after each step."""
    past = jax.tree.map(shifted, carry, states)
    carries, ys = jax.vmap(partial(cell.step, params))(past, xs)
    return jax.tree.map(lambda leaf: leaf[-1], carries), ys


def linearize(
    cell: Cell, params: Params, carry: Carry, past: Float[Array, "T ... n"], xs: Inputs, diagonal
) -> tuple[Array, Array]:
    """The state after each step [T, ..., n], and the Jacobians [T, ..., n, n] or [T, ..., n]."""

    def at_step(flat, x):
        value, push = jax.linearize(lambda f: flat_step(cell, carry, params, f, x), flat)
        if diagonal and cell.diagonal_jacobian:
            return value, push(jnp.ones_like(flat))
        rows = jnp.eye(flat.shape[-1], dtype=flat.dtype)
        # An empty sum: a zero for each example, sharded over a mesh like the carry.
        zeros = flat[..., :0].sum(-1, keepdims=True)
        if diagonal:
            # One row at a time, so that no matrix is stored.
            entries = jax.lax.map(
                lambda row: (push(expand(row, zeros) + zeros) * row).sum(-1), rows
            )
            return value, jnp.moveaxis(entries, 0, -1)
        return value, jax.vmap(lambda row: push(expand(row, zeros) + zeros), out_axes=-2)(rows)

    return jax.vmap(at_step)(past, xs)


def push_forward(
    cell: Cell,
    params: Params,
    carry: Carry,
    past: Float[Array, "T ... n"],
    xs: Inputs,
    changes: Float[Array, "T ... n"],
) -> Float[Array, "T ... n"]:
    """Changes of the state after each step, given changes of the state before it: c_t a_t."""

    def at_step(flat, x, change):
        return jax.jvp(lambda f: flat_step(cell, carry, params, f, x), (flat,), (change,))[1]

    return jax.vmap(at_step)(past, xs, changes)


def recurrence(a: Array, b: Float[Array, "T ... K n"], reverse: bool = False) -> Array:
    """s_t = s_t-1 a_t + b_t for rows b, and matrices a [T, ..., n, n] or diagonals [T, ..., n]."""
    if a.ndim < b.ndim:
        return elementwise_scan(jnp.broadcast_to(a[..., None, :], b.shape), b, reverse)

    def join(early, late):
        return early[0] @ late[0], early[1] @ late[0] + late[1]

    return jax.lax.associative_scan(join, (a, b), reverse=reverse)[1]


def pull_back(
    cell: Cell,
    backward: Backward,
    params: Params,
    carry: Carry,
    xs: Inputs,
    states: Carry,
    d_states: Carry,
) -> tuple[Params, Carry, Inputs]:
    """Gradients with respect to params, carry and xs, given those of the carry after each step.

        g_t = d_t + g_t+1 a_t+1

    This recurrence is linear. It is solved in parallel over time with matrices or, for a cell with
    `diagonal_jacobian`, diagonals; or step by step, with memory for one step.
    """
    past = shifted(join_fields(carry), join_fields(states))
    d = join_fields(d_states)
    step = partial(flat_step, cell, carry)
    if backward == "sequential":

        def back(later, inputs):
            d, flat, x = inputs
            g = d + later
            return jax.vjp(lambda f: step(params, f, x), flat)[1](g)[0], g

        _, g = jax.lax.scan(back, jnp.zeros_like(d[0]), (d, past, xs), reverse=True)
    else:
        _, a = linearize(cell, params, carry, past, xs, backward == "diagonal")
        later = jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])
        if backward == "matrix":
            later = jnp.swapaxes(later, -1, -2)
        g = recurrence(later, d[..., None, :], reverse=True)[..., 0, :]
    run = jax.vmap(step, in_axes=(None, 0, 0))
    d_params, d_past, d_xs = jax.vjp(run, params, past, xs)[1](g)
    return d_params, split_fields(d_past[0], carry), d_xs
