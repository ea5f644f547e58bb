"""Lyapunov exponents of any cell: the growth rates of small perturbations of the carry.

The fields of a carry, such as h and c of an LSTM, are concatenated into n values. A perturbation is
a row of n values; a step maps a row v to v J, where J[i, j] = ∂carry_t[j]/∂carry_t-1[i].
"""

import math
import numbers
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.analysis.gram_schmidt import nearly_orthonormal, orthonormal
from rnn_jax.analysis.lyapunov_gradient import fixed_schedule_spectrum
from rnn_jax.cells.array_ops import join_fields
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import require_vectors
from rnn_jax.drivers.arguments import prepare
from rnn_jax.drivers.auto_axes import compiled
from rnn_jax.drivers.linearized import split_fields
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float, Params


def lyapunov_spectrum(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T ... D"],
    carry: Carry | None = None,
    *,
    count: int | None = None,
    burn_in: int = 0,
    qr_every: int = 8,
    differentiable: bool = False,
) -> Float[Array, "... K"]:
    """Lyapunov exponents of each example [..., K] in nats per step, largest first.

        λ_i = mean over t of log r_t,ii      V_t J_t+1 = R_t+1 V_t+1, R triangular, V orthonormal

    For the exponents of a batch, take the mean over its examples. If a single step shrinks a
    direction by a factor near eps relative to the fastest one, as for an inactive unit, the
    direction is lost to rounding: its exponent is very negative, but not accurate.

    Args:
      cell: any `Cell`. A `GatedCell` is several times faster.
      params: the parameters, from `cell.init`.
      xs: inputs [T, ..., D], time first.
      carry: the carry to start from; by default `cell.start(params, ...)`.
      count: K, the number of leading exponents; by default all n.
      burn_in: the number of steps at the start that are run but not averaged.
      qr_every: the maximum number of steps between two orthonormalizations. There are fewer if rows
        would otherwise grow apart by more than a factor of about 1/sqrt(eps). In float32, nine in
        ten exponents then agree with float64 to four digits, and the smallest to half a percent.
      differentiable: allow gradients, with a QR decomposition after exactly every `qr_every` steps.
        Rows that become parallel in between lose their gradient as well: use a small `qr_every` for
        exponents far apart. Gradient flossing makes the exponents part of the loss.

    Raises:
      InputError: as in `unroll`; a count, burn_in or qr_every out of range.
    References: Benettin, Galgani, Giorgilli, Strelcyn (1980), "Lyapunov characteristic exponents
    for smooth dynamical systems"; Engelken (2023), "Gradient flossing: improving gradient descent
    through dynamic control of Jacobians". Departure from the former: V is only nearly orthonormal
    inside the average. This changes no exponent, since R only has to be triangular.
    """
    run = prepare(cell, params, xs, carry)
    cell, params, xs, start = run.cell, run.params, run.xs, run.carry
    require_vectors("lyapunov_spectrum", cell, "; use gradient_flow.adjoint_norms")
    size = sum(field.shape[-1] for field in jax.tree.leaves(start))
    count = size if count is None else count
    check_range("T, the length of xs,", len(xs), 1, None)
    check_range("count", count, 1, size)
    check_range("burn_in", burn_in, 0, len(xs) - 1)
    check_range("qr_every", qr_every, 1, None)
    if differentiable:
        return _differentiable(cell, params, start, xs, count, burn_in, qr_every)
    assemble = _worth_assembling(cell, params, count)
    options = int(count), int(burn_in), int(qr_every), assemble
    return _spectrum(cell, options, params, start, xs)


@compiled(static=2)
def _spectrum(cell, options, params, start, xs):
    """`lyapunov_spectrum` of checked arguments, compiled once for each cell and shape."""
    count, burn_in, qr_every, assemble = options
    batch = xs.shape[1:-1]
    start, xs = _with_one_batch_axis(start, xs)
    rows = random_rows(start, count)
    spans = jnp.asarray([(0, burn_in), (burn_in, len(xs))], jnp.int32)
    with jax.default_matmul_precision("highest"):
        push = _assembled(cell, params) if assemble else partial(push_rows, cell, params)
        _, logs = jax.lax.scan(partial(_grow, push, xs, qr_every), (start, rows), spans)
    exponents = logs[-1] / (len(xs) - burn_in)
    return jnp.sort(exponents, axis=-1, descending=True).reshape(*batch, count)


def _differentiable(cell, params, start, xs, count, burn_in, qr_every):
    batch = xs.shape[1:-1]
    start, xs = _with_one_batch_axis(start, xs)
    rows, options = random_rows(start, int(count)), (int(burn_in), int(qr_every))
    with jax.default_matmul_precision("highest"):
        logs = fixed_schedule_spectrum(cell, push_rows, options, params, start, xs, rows)
    exponents = logs / (len(xs) - burn_in)
    return jnp.sort(exponents, axis=-1, descending=True).reshape(*batch, count)


def _with_one_batch_axis(start, xs):
    number = math.prod(xs.shape[1:-1])
    start = jax.tree.map(lambda field: field.reshape(number, field.shape[-1]), start)
    return start, xs.reshape(len(xs), number, xs.shape[-1])


def random_rows(carry: Carry, count: int) -> Float[Array, "N K n"]:
    """Orthonormal rows, the same for each example of a carry with fields [N, H]."""
    flat = join_fields(carry)
    size = flat.shape[-1]
    columns, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, count)))
    rows = jnp.asarray(columns.T, flat.dtype)
    return jnp.broadcast_to(rows, (len(flat), count, size))


def check_range(name, value, low, high):
    """Raise InputError unless `value` is an integer from `low` to `high`, or at least `low`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        range_ = f"at least {low}" if high is None else f"{low} to {high}"
        raise InputError(f"{name} must be an integer, {range_}, got {value!r}.")


def _grow(push, xs, qr_every, state, span):
    """Advance the carry and orthonormal rows over a span of steps; also return the log growth."""
    carry, rows = state
    first, last = span
    digits = -np.log(jnp.finfo(rows.dtype).eps)
    aim, most = digits / 2, 3 * digits / 4

    def stretch(state):
        t, carry, rows, total, rate = state
        steps = jnp.clip(jnp.nan_to_num(aim / rate, nan=1), 1, qr_every).astype(t.dtype)
        end = jnp.minimum(t + steps, last)
        now, moved = jax.lax.fori_loop(t, end, lambda i, s: push(*s, xs[i]), (carry, rows))
        moved, logs = nearly_orthonormal(moved)
        # An example that is NaN must not limit the steps of the others.
        reach = _reach(logs)
        reach = jnp.max(jnp.where(jnp.isnan(reach), 0, reach), initial=0)
        steps = (end - t).astype(rows.dtype)
        reached = end, now, moved, total + logs, reach / steps
        # Nearly parallel rows have lost precision: go back and take half as many steps.
        again = t, carry, rows, total, 2 * aim / steps
        lost = (reach > most) & (steps > 1)
        return jax.tree.map(partial(jnp.where, lost), again, reached)

    zeros, unknown = jnp.zeros(rows.shape[:2], rows.dtype), jnp.asarray(jnp.inf, rows.dtype)
    state = first, carry, rows, zeros, unknown
    _, carry, rows, total, _ = jax.lax.while_loop(lambda s: s[0] < last, stretch, state)
    rows, logs = orthonormal(rows)
    return (carry, rows), total + logs


def _reach(logs):
    """The growth of the rows of each example, relative to each other or to 1, in nats."""
    return jnp.maximum(jnp.max(logs, 1) - jnp.min(logs, 1), jnp.max(jnp.abs(logs), 1))


def _worth_assembling(cell, params, count):
    """Return whether `_assembled` suits the cell, and is faster for this number of rows."""
    if not isinstance(cell, GatedCell) or cell.linear or not cell.elementwise_update:
        return False
    carry = cell.initial_carry()
    fields = jax.tree.leaves(carry)
    gates = jax.eval_shape(cell.mix, params, carry).shape[-1]
    square = gates % cell.hidden_size == 0 and all(f.shape == (cell.hidden_size,) for f in fields)
    return square and 4 * count >= cell.hidden_size * len(fields)


def push_rows(cell, params, carry, rows, x):
    """One step of any cell: the new carry, fields [N, H], and rows [N, K, n] times the Jacobian."""

    def tangent(row):
        change = split_fields(row, carry)
        _, change = jax.jvp(lambda c: cell.step(params, c, x)[0], (carry,), (change,))
        return join_fields(change)

    return cell.step(params, carry, x)[0], jax.vmap(tangent, in_axes=1, out_axes=1)(rows)


def _assembled(cell, params):
    """`push_rows` for a gated cell and many rows: a matrix J for each example, and one product.

    Since `mix` is affine and `update` elementwise, J is the sum of diagonals and of the constant
    weights of mix, with columns scaled by the slopes of update. The columns of J for a field that
    mix does not read, such as c of an LSTM, are only diagonals.
    """
    size, reads = cell.hidden_size, _fields_read(cell, params)
    zeros, structure = jax.tree.flatten(cell.initial_carry())
    count = len(zeros)
    mix = jax.jacfwd(lambda *fields: cell.mix(params, structure.unflatten(fields)), reads)
    weights = [w.T.reshape(size, -1, size) for w in mix(*zeros)]
    gates = weights[0].shape[1]

    def push(carry, rows, x):
        x_gates, h_gates = cell.project(params, x), cell.mix(params, carry)
        after, linear = jax.linearize(
            lambda c, h: cell.update(params, c, x_gates, h), carry, h_gates
        )

        fields = jax.tree.leaves(carry)

        def slope(along):
            change = [jnp.full_like(field, along[i]) for i, field in enumerate(fields)]
            gate = jnp.broadcast_to(jnp.repeat(along[count:], size), h_gates.shape)
            return jax.tree.leaves(linear(structure.unflatten(change), gate))

        slopes = jax.vmap(slope)(jnp.eye(count + gates, dtype=h_gates.dtype))
        # Without the barrier, XLA recomputes these small [N, H] arrays for each row of J.
        slopes = jax.lax.optimization_barrier([[s[:, None] for s in field] for field in slopes])
        moved = 0
        for i, part in enumerate(jnp.split(rows, count, axis=-1)):
            if i in reads:
                w, eye = weights[reads.index(i)][None], jnp.eye(size, dtype=rows.dtype)[None]
                blocks = [
                    s[i] * eye + sum(s[count + g] * w[:, :, g] for g in range(gates))
                    for s in slopes
                ]
                moved += part @ jnp.concatenate(blocks, axis=-1)
            else:
                moved += jnp.concatenate([part * s[i] for s in slopes], axis=-1)
        return after, moved

    return push


def _fields_read(cell, params):
    """The indices of the fields of the carry that `mix` reads."""
    zeros, structure = jax.tree.flatten(cell.initial_carry())
    mix = jax.make_jaxpr(lambda *fields: cell.mix(params, structure.unflatten(fields)))
    jaxpr = mix(*zeros).jaxpr
    used = [variable for equation in jaxpr.eqns for variable in equation.invars] + jaxpr.outvars
    return tuple(i for i, field in enumerate(jaxpr.invars) if any(field is v for v in used))
