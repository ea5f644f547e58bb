"""Estimators of the influence of the parameters on the carry, M_t = dcarry_t/dparams.

    M_t = J_t M_t-1 + I_t,     J_t = ∂carry_t/∂carry_t-1,     I_t = ∂carry_t/∂params

There are P parameters and n values in a carry. All functions here are for one example.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from rnn_jax.analysis.unit_traces import block_of_units, unit_of, units_by_unit
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.errors import InputError
from rnn_jax.numerics import global_norm
from rnn_jax.typing import Array, Carry, Inputs, Key, Params


@dataclasses.dataclass(frozen=True)
class Estimator:
    """Base class: subclasses define the trace of one example."""

    def init(self, cell: Cell, params: Params, places: tuple[int, ...], key: Key[Array, ""]) -> Any:
        """The trace of `cell.start(params, places)`, which may depend on the parameters."""
        raise NotImplementedError

    def step(
        self, cell: Cell, params: Params, trace: Any, carry: Carry, x: Inputs, key: Key[Array, ""]
    ) -> Any:
        """The trace after a step from `carry`, the carry before it."""
        raise NotImplementedError

    def pull(self, cell: Cell, params: Params, trace: Any, x: Inputs, d_carry: Carry) -> Params:
        """The gradient of the parameters, d_carry M, from that of the carry of the trace."""
        raise NotImplementedError


def _flat_start(cell, places):
    def start(params):
        dtype = jax.tree.leaves(params)[0].dtype
        return ravel_pytree(cell.start(params, places, dtype))[0]

    return start


def _flat_step(cell, carry, x):
    flat, unflatten = ravel_pytree(carry)
    return flat, lambda params, flat: ravel_pytree(cell.step(params, unflatten(flat), x)[0])[0]


@dataclasses.dataclass(frozen=True)
class RTRL(Estimator):
    """Real-time recurrent learning: the exact influence, for any cell.

    It takes n P memory and n² P operations per step for each example. The gradient equals that of
    backpropagation through time.

    Reference: Williams, Zipser (1989), "A learning algorithm for continually running fully
    recurrent neural networks".
    """

    def init(self, cell, params, places, key):
        """∂start/∂params, [n, *shape] for each parameter."""
        return jax.jacrev(_flat_start(cell, places))(params)

    def step(self, cell, params, trace, carry, x, key):
        """J M + I."""
        flat, step = _flat_step(cell, carry, x)
        now, jacobian = jax.jacrev(step, argnums=(0, 1))(params, flat)
        return jax.tree.map(lambda i, m: i + jnp.tensordot(jacobian, m, 1), now, trace)

    def pull(self, cell, params, trace, x, d_carry):
        """d_carry M."""
        flat = ravel_pytree(d_carry)[0]
        return jax.tree.map(lambda m: jnp.tensordot(flat, m, 1), trace)


@dataclasses.dataclass(frozen=True)
class UORO(Estimator):
    """Unbiased online recurrent optimization: M as the mean of random rank-one matrices.

        s' = ρ0 J s + ρ1 ν      v' = v / ρ0 + ν I / ρ1      E[s v] = M

    ν is a random sign for each value of the carry. ρ0 and ρ1 balance the norms of both sides and
    leave the mean unchanged. It takes n + P memory and the cost of a one-step backward pass, for
    any cell. The estimate is unbiased while the parameters are constant; its variance grows with n.

    Reference: Tallec, Ollivier (2017), "Unbiased online recurrent optimization".
    """

    def init(self, cell, params, places, key):
        """ν and ν ∂start/∂params."""
        start, back = jax.vjp(_flat_start(cell, places), params)
        signs = jax.random.rademacher(key, start.shape, start.dtype)
        return signs, back(signs)[0]

    def step(self, cell, params, trace, carry, x, key):
        """The equations above."""
        s, v = trace
        flat, step = _flat_step(cell, carry, x)
        signs = jax.random.rademacher(key, flat.shape, flat.dtype)
        _, moved = jax.jvp(lambda flat: step(params, flat), (flat,), (s,))
        now = jax.vjp(lambda params: step(params, flat), params)[1](signs)[0]
        rho0 = _ratio(v, moved)
        rho1 = _ratio(now, signs)
        v = jax.tree.map(lambda old, new: old / rho0 + new / rho1, v, now)
        return rho0 * moved + rho1 * signs, v

    def pull(self, cell, params, trace, x, d_carry):
        """(d_carry · s) v."""
        s, v = trace
        scale = jnp.vdot(ravel_pytree(d_carry)[0], s)
        return jax.tree.map(lambda leaf: scale * leaf, v)


def _ratio(a, b):
    """The square root of the ratio of two norms; any positive value keeps UORO unbiased."""
    small = 1e-7
    return jnp.sqrt((global_norm(a) + small) / (global_norm(b) + small))


@dataclasses.dataclass(frozen=True)
class SnAp1(Estimator):
    """Sparse approximation of order one: the influence on the units that one step reaches.

    It needs a cell in which a parameter affects one unit, the same in every field of the carry,
    within a step: gated cells with an elementwise update, and linear cells. With F fields, the
    trace is F values for each parameter, and J is restricted to F² values for each unit. Departs
    from the paper: the entries of that unit are kept in all fields, even where I is zero.

    For a `LinearCell`, real or complex, and for a cell with `diagonal_jacobian`, nothing is
    omitted: the gradient is exact, and a step costs F forward and F backward passes. For other
    cells, the entries of J cost n backward passes, one for each row.

    References: Menick, Elsen, Evci, Osindero, Simonyan, Graves (2021), "A practical sparse
    approximation for real time recurrent learning"; Zucchet, Meier, Schug, Mujika, Sacramento
    (2023), "Online learning of long-range dependencies"; Irie, Gopalakrishnan, Schmidhuber (2024),
    "Exploring the promise and limits of real-time recurrent learning".
    """

    def init(self, cell, params, places, key):
        """∂start/∂params, [F, *shape] for each parameter."""
        dtype = jax.tree.leaves(params)[0].dtype
        return block_of_units(lambda p: cell.start(p, places, dtype), params)

    def step(self, cell, params, trace, carry, x, key):
        """J M + I on the kept entries."""
        units = unit_of(type(self).__name__, cell, params, x)
        now = block_of_units(lambda p: cell.step(p, carry, x)[0], params)
        blocks = self._blocks(cell, params, carry, x)

        def leaf(i, m, unit):
            return i + (blocks[:, :, unit] * m[None]).sum(1)

        return jax.tree.map(leaf, now, trace, units)

    def pull(self, cell, params, trace, x, d_carry):
        """d_carry M on the kept entries."""
        units = unit_of(type(self).__name__, cell, params, x)
        d = jnp.stack(jax.tree.leaves(d_carry))
        return jax.tree.map(lambda m, unit: (d[:, unit] * m).sum(0), trace, units)

    def _blocks(self, cell, params, carry, x) -> Array:
        """∂ field f / ∂ field g of each unit: [F, F, H]."""

        def step(carry):
            return cell.step(params, carry, x)[0]

        if cell.diagonal_jacobian or getattr(cell, "linear", False):
            return units_by_unit(step, carry)
        rows = jax.jacrev(lambda s: jnp.stack(jax.tree.leaves(step(_like(carry, s)))))
        full = rows(jnp.stack(jax.tree.leaves(carry)))
        return jnp.diagonal(full, axis1=1, axis2=3)


def _like(carry, stacked):
    return jax.tree.structure(carry).unflatten(list(stacked))


@dataclasses.dataclass(frozen=True)
class RFLO(SnAp1):
    """Random-feedback local online learning: the influence without the recurrent weights.

    J is that of `update` with the gates held constant, such as 1 - leak for a leaky network

        h' = (1 - leak) h + leak φ(u)      p' = (1 - leak) p + leak φ'(u) ∂u/∂w

    with one trace p for each weight w; influence through `mix` is omitted. It needs a `GatedCell`
    with an elementwise update, and costs F forward and F backward passes per step.
    For an LSTM, this is the eligibility trace of e-prop (Bellec et al. 2020).
    Departs from the paper: errors are fed back through the output weights, not random weights.

    Reference: Murray (2019), "Local online learning in recurrent networks with random feedback".
    """

    def _blocks(self, cell, params, carry, x):
        if not isinstance(cell, GatedCell) or not cell.elementwise_update:
            raise InputError(
                f"RFLO needs a GatedCell with an elementwise update, {type(cell).__name__} is not "
                "one; use UORO() or RTRL()."
            )
        gates = cell.project(params, x), cell.mix(params, carry)
        return units_by_unit(lambda carry: cell.update(params, carry, *gates), carry)
