"""The chunked driver: a scan over chunks of time, with one backward pass for every gated cell.

In a chunk of K steps, the input projection and both weight gradients are one matrix product each,
in cache. Within a chunk, the forward pass is unrolled and the backward pass is a loop. The backward
pass is written once, for project, mix and update, with `jax.vjp(update)` as its pointwise part.
`scan_steps` is the reference.
"""

import dataclasses
from functools import partial
from typing import ClassVar, cast

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.lax import optimization_barrier

from rnn_jax.cells.base import GatedCell
from rnn_jax.drivers.base import Driver, given_cell
from rnn_jax.drivers.chunking import (
    add,
    at,
    batch_size,
    chunk_length,
    in_pieces,
    materialized,
    narrowed,
    projected_per_step,
    stack,
    turn,
    wide_zeros,
)
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Carry, Float, Inputs, Params

LONGEST_CHUNK = 32
"""Maximum length of a chunk. The steps of a chunk are compiled one by one."""


@dataclasses.dataclass(frozen=True)
class Chunked(Driver):
    """Run a `GatedCell` in chunks of K steps, with one hand-written backward pass.

    Attributes:
      length: K, the number of steps in a chunk; by default `chunk_length` of the cell and sizes.
      remat: store only the carries between chunks, and recompute each chunk in the backward pass.
        Memory then grows with T/K instead of T.

    Raises:
      InputError: `length` is not a positive integer.
    """

    name: ClassVar[str] = "chunked"
    length: int | None = None
    remat: bool = False

    def __post_init__(self):
        if self.length is not None:
            check_size("length", self.length)

    def check(self, cell, steps):
        """Raise InputError unless `cell` is gated, T is fixed and a chunk is not too long."""
        if not isinstance(cell, GatedCell):
            raise InputError(
                f"the chunked driver needs a GatedCell, got {type(given_cell(cell)).__name__}; "
                "use driver='scan'."
            )
        super().check(cell, steps)
        if self.length is not None and min(self.length, steps) > LONGEST_CHUNK:
            raise InputError(
                f"length must be at most {LONGEST_CHUNK}, got {self.length}: the steps of a chunk "
                "are compiled one by one, and longer chunks are not faster."
            )

    def run(self, cell, params, carry, xs):
        """Run the cell; there is no report."""
        steps = jax.tree.leaves(xs)[0].shape[0]
        length = self.length or chunk_length(cast(GatedCell, cell), steps, batch_size(carry))
        return *chunked(cell, params, carry, xs, length, self.remat), None


@partial(jax.jit, static_argnames=("cell", "length", "remat"))
def chunked(
    cell: GatedCell, params: Params, carry: Carry, xs: Inputs, length: int, remat: bool
) -> tuple[Carry, Float[Array, "T ... H"]]:
    """`scan_steps` in chunks of `length` steps; the remaining steps form a shorter chunk."""
    return in_pieces(partial(scan_chunks, cell, remat, params), carry, xs, length)


def run_chunk(cell, params, carry, xs):
    """Run one chunk; return the carries before and after each step, and h_gates."""
    per_step = projected_per_step(cell, params, at(xs, 0))
    x_gates = None if per_step else cell.project(params, xs)
    before, after, h_gates = [], [], []
    for k in range(jax.tree.leaves(xs)[0].shape[0]):
        before.append(carry)
        h_gates.append(cell.mix(params, carry))
        # The barrier keeps the slice out of the gates' loop, where it would prevent vectorization.
        x = cell.project(params, at(xs, k)) if per_step else optimization_barrier(at(x_gates, k))
        carry = cell.update(params, carry, x, h_gates[-1])
        after.append(carry)
    return stack(before), stack(after), stack(h_gates)


def recall_chunk(cell, params, border, kept, xs):
    """`run_chunk`, without the loop if its results were stored."""
    if kept is None:
        return run_chunk(cell, params, border, xs)
    carries, h_gates = kept
    past = jax.tree.map(lambda first, c: jnp.concatenate([first[None], c[:-1]]), border, carries)
    return past, carries, cell.mix(params, past) if h_gates is None else h_gates


def pull_step(cell, params, turned, past, x_gates, h_gates):
    """The backward pass of one step: d_after -> d_params (of update only), d_past, d_x, d_h."""
    _, pull_update = jax.vjp(cell.update, params, past, x_gates, h_gates)
    _, pull_mix = jax.vjp(partial(cell.mix, turned), past)

    def pull(d_after):
        d_params, d_past, d_x_gates, d_h_gates = pull_update(d_after)
        return d_params, add(d_past, pull_mix(d_h_gates)[0]), d_x_gates, d_h_gates

    return pull


def pull_chunk(cell, params, past, xs, d_x_gates, d_h_gates):
    """The matrix products shared by all steps of a chunk: d_params and d_xs."""
    _, pull_project = jax.vjp(cell.project, params, xs)
    _, pull_mix = jax.vjp(lambda p: cell.mix(p, past), params)
    d_params, d_xs = pull_project(d_x_gates)
    return add(d_params, pull_mix(d_h_gates)[0]), d_xs


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def scan_chunks(cell, remat, params, carry, xs):
    """The final carry and ys [N, K, ...] of N chunks xs [N, K, ...]."""
    return _scan(cell, remat, params, carry, xs)[0]


def _scan(cell, remat, params, carry, xs):
    """The results of `scan_chunks`, the carries before each chunk, and the residuals of each step.

    A step stores its carry. With a single gate, whose pointwise part is cheap compared with its
    product, it also stores h_gates, so that the backward pass need not recompute it.

    Both forward passes use it: vmap (JAX 0.10, 0.12) expects the same batch axes in their results.
    """

    def body(carry, xs):
        _, carries, h_gates = run_chunk(cell, params, carry, xs)
        if remat:
            return at(carries, -1), (carry, cell.readout(params, carries))
        return at(carries, -1), (carries, h_gates if len(cell.gates) == 1 else None)

    last, kept = jax.lax.scan(body, carry, xs)
    if remat:
        borders, ys = kept
        return (last, ys), (borders, None)
    carries, _ = kept
    borders = jax.tree.map(
        lambda first, c: jnp.concatenate([first[None], c[:-1, -1]]), carry, carries
    )
    return (last, cell.readout(params, carries)), (borders, kept)


def forward(cell, remat, params, carry, xs):
    """The forward pass and its residuals; arguments as `jax.custom_vjp` passes them."""
    wants_d_xs = any(leaf.perturbed for leaf in jax.tree.leaves(xs))
    params, carry, xs = jax.tree.map(lambda leaf: leaf.value, (params, carry, xs))
    results, kept = _scan(cell, remat, params, carry, xs)
    return results, (params, xs, *kept, () if wants_d_xs else None)


class Adjoint:
    """∂L/∂carry_t in the backward pass: here, the carry's cotangent itself.

    A subclass stores it in another form and records a measurement of it at each step; see
    `analysis.adjoint_probe`. `backward` is the same for all of them.
    """

    def start(self, d_carry):
        """The adjoint of the final carry."""
        return d_carry

    def add_output(self, adjoint, d_after):
        """Add the contribution of y_t to the adjoint of carry_t; `d_after` may be None."""
        return adjoint if d_after is None else add(adjoint, d_after)

    def record(self, adjoint):
        """A measurement of the adjoint of carry_t, or None."""
        return None

    def pull(self, pull, adjoint):
        """Pull the adjoint back through one step: d_params, the adjoint, d_x_gates, d_h_gates."""
        return pull(adjoint)

    def finish(self, adjoint):
        """The cotangent of the first carry."""
        return adjoint


def backward(cell, residuals, cotangents, adjoint):
    """The backward pass: d_params, d_carry, d_xs, and what `adjoint` records at each step."""
    params, xs, borders, kept, wants_d_xs = residuals
    d_carry, d_ys = cotangents
    d_carry = materialized(d_carry, at(borders, 0))
    d_ys = None if isinstance(d_ys, SymbolicZero) else d_ys
    turned = turn(params)

    per_step = projected_per_step(cell, params, at(xs, (0, 0)))

    def step(state, inputs):
        d_carry, d_params = state
        past, x, h_gates, d_after = inputs
        d_carry = adjoint.add_output(d_carry, d_after)
        record = adjoint.record(d_carry)
        x_gates = cell.project(params, x) if per_step else x
        pull = pull_step(cell, params, turned, past, x_gates, h_gates)
        d_update, d_carry, d_x_gates, d_h_gates = adjoint.pull(pull, d_carry)
        return (d_carry, add(d_params, d_update)), (d_x_gates, d_h_gates, record)

    def body(state, chunk):
        d_carry, d_params = state
        xs, border, kept, d_ys = chunk
        past, after, h_gates = recall_chunk(cell, params, border, kept, xs)
        d_after = None
        if d_ys is not None:
            d_readout, d_after = jax.vjp(cell.readout, params, after)[1](d_ys)
            d_params = add(d_params, d_readout)
        inputs = past, xs if per_step else cell.project(params, xs), h_gates, d_after
        (d_carry, d_params), (d_x_gates, d_h_gates, records) = jax.lax.scan(
            step, (d_carry, d_params), inputs, reverse=True
        )
        d_chunk, d_xs = pull_chunk(cell, params, past, xs, d_x_gates, d_h_gates)
        return (d_carry, add(d_params, d_chunk)), (None if wants_d_xs is None else d_xs, records)

    state = adjoint.start(d_carry), wide_zeros(params)
    chunks = xs, borders, kept, d_ys
    (d_carry, d_params), (d_xs, records) = jax.lax.scan(body, state, chunks, reverse=True)
    d_xs = jax.tree.map(jnp.zeros_like, xs) if d_xs is None else d_xs
    return narrowed(d_params, params), adjoint.finish(d_carry), d_xs, records


def _backward(cell, remat, residuals, cotangents):
    return backward(cell, residuals, cotangents, Adjoint())[:3]


scan_chunks.defvjp(forward, _backward, symbolic_zeros=True)
