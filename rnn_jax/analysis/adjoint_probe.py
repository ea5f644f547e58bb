"""The chunked driver with a probe: norms of every ∂L/∂carry_t from the training backward pass.

The probe is an input of zeros whose "gradient" is defined as the log norms of the adjoint at each
step. The adjoint is stored as floats and one power of two per example, so that no norm underflows
or overflows. `gradient_flow.adjoint_norms` is the reference.
"""

import math
from functools import partial, reduce
from typing import Any, cast

import jax
import jax.numpy as jnp

from rnn_jax.analysis.extended_range import power_of_two
from rnn_jax.cells.base import GatedCell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers import chunked
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.chunking import add, batch_size, chunk_length, in_pieces
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Carry, Float, Params

_ZERO = -(2**30)
"""The exponent of zeros: below all others, and far from the limits of int32."""


def zero_probe(
    cell: GatedCell, steps: int, batch_shape: tuple[int, ...] = (), dtype=jnp.float32
) -> Carry:
    """Create the probe for T = `steps`: zeros [T, *batch_shape] for each field of the carry."""
    require_cell("unroll_probed", cell, has_params=True)
    check_size("steps", steps, 0)
    carry = jax.eval_shape(lambda: cell.initial_carry())
    return jax.tree.map(lambda _: jnp.zeros((steps, *batch_shape), dtype), carry)


def unroll_probed(
    cell: GatedCell,
    params: Params,
    xs: Float[Array, "T ... D"],
    probe: Carry,
    carry: Carry | None = None,
) -> tuple[Carry, Float[Array, "T ... H"]]:
    """Run `unroll`, with log10 ‖∂L/∂carry_t‖ for t = 1 to T as the gradient of `probe`.

    carry_t is the carry after step t. The derivative is total, and the norm is taken for each field
    of the carry and each example, as in `gradient_flow.adjoint_norms`. The other gradients are
    those of `unroll`.

    Args:
      cell: a `GatedCell`.
      params, xs, carry: as in `unroll`.
      probe: the zeros from `zero_probe`.

    Returns:
      The final carry and the outputs, as in `unroll`.

    Raises:
      InputError: as in `unroll`; a cell that is not a GatedCell; a probe with wrong shapes.
    """
    require_cell("unroll_probed", cell, has_params=True)
    if not isinstance(cell, GatedCell):
        raise InputError(
            f"unroll_probed needs a GatedCell, got {type(cell).__name__}; "
            "use gradient_flow.adjoint_norms."
        )
    run = prepare(cell, params, xs, carry)
    cell, params, xs, carry = cast(GatedCell, run.cell), run.params, run.xs, run.carry
    steps, batch = len(xs), xs.shape[1:-1]
    wanted = jax.tree.map(lambda _: (steps, *batch), carry)
    if _shapes(probe) != wanted:
        raise InputError(
            f"probe must be zero_probe(cell, {steps}, {batch}): a {type(carry).__name__} with an "
            f"array {[steps, *batch]} in each field."
        )
    if not steps:
        y = jax.eval_shape(cell.readout, params, carry)
        return carry, jnp.zeros((0, *y.shape), y.dtype)
    chunk = chunk_length(cell, steps, batch_size(carry))
    return _run(cell, chunk, params, carry, (xs, probe))


def _shapes(tree):
    return jax.tree.map(jnp.shape, tree)


@partial(jax.jit, static_argnums=(0, 1))
def _run(cell, chunk, params, carry, xs_and_probe):
    return in_pieces(partial(_scan, cell, params), carry, xs_and_probe, chunk)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(cell, params, carry, xs_and_probe):
    xs, _ = xs_and_probe
    return chunked.scan_chunks(cell, False, params, carry, xs)


def _forward(cell, params, carry, xs_and_probe):
    return chunked.forward(cell, False, params, carry, xs_and_probe[0])


def _backward(cell, residuals, cotangents):
    d_params, d_carry, d_xs, norms = chunked.backward(cell, residuals, cotangents, _Probe())
    return d_params, d_carry, (d_xs, norms)


class _Probe(chunked.Adjoint):
    """The adjoint as floats and one power of two per example; records log10 norms."""

    def start(self, d_carry):
        # A selection that always takes 0, so that the zeros vary over a mesh like the gradient.
        return d_carry, jnp.where(True, 0, d_carry[0][..., 0]).astype(jnp.int32)

    def add_output(self, adjoint, d_after):
        return _rebase(*(adjoint if d_after is None else _join(adjoint, _rebase(d_after))))

    def record(self, adjoint):
        return _log10_norms(*adjoint)

    def pull(self, pull, adjoint):
        d_carry, exponent = adjoint
        d_update, *_ = pull(_shift(d_carry, exponent))
        _, d_carry, *d_gates = pull(d_carry)
        return d_update, (d_carry, exponent), *_shift(d_gates, exponent)

    def finish(self, adjoint):
        return _shift(*adjoint)


_scan.defvjp(_forward, _backward, symbolic_zeros=True)


def _shift(tree, exponent):
    """Every leaf [..., N] times 2**exponent [...]."""
    return jax.tree.map(lambda x: x * power_of_two(exponent, x.dtype)[..., None], tree)


def _rebase(tree, exponent: Any = 0):
    """Rescale vectors so that the largest absolute entry of all leaves is between 1/2 and 1."""
    largest = reduce(jnp.maximum, (jnp.abs(x).max(-1) for x in jax.tree.leaves(tree)))
    _, shift = jnp.frexp(largest)
    return _shift(tree, -shift), jnp.where(largest > 0, exponent + shift, _ZERO)


def _join(a, b):
    """The sum of two rebased vectors, at the larger of their exponents."""
    exponent = jnp.maximum(a[1], b[1])
    return add(*(_shift(tree, own - exponent) for tree, own in (a, b))), exponent


def _log10_norms(tree, exponent):
    def norm(x):
        return 0.5 * jnp.log10((x * x).sum(-1)) + math.log10(2) * exponent.astype(x.dtype)

    return jax.tree.map(norm, tree)
