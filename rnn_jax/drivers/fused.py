"""The fused driver: all steps of a gated cell in one kernel, forward and backward.

The kernels of both passes are `fused_scan` over a step traced from the cell: `mix` and `update` in
the forward pass, their pullback in the backward pass. Work that does not depend on the previous
step stays outside as a few large products: the input projection and all parameter gradients.
"""

import dataclasses
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells.base import GatedCell
from rnn_jax.cells.checks import has_recurrent_product
from rnn_jax.drivers.base import Driver, given_cell
from rnn_jax.drivers.chunking import add, at
from rnn_jax.drivers.fused_scan import Platform, fused_scan
from rnn_jax.drivers.kernel_operands import ROWS
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Carry, Float, Inputs, Params
from rnn_jax.wrappers.dropout import DropoutParams

MOST_UNITS = {"gpu": 128, "tpu": 512}
"""The maximum H: on a GPU, a tile [H, H] of the weights must fit in shared memory; on a TPU, all
weights of the gates must fit in the memory of a core."""


@dataclasses.dataclass(frozen=True)
class Fused(Driver):
    """Run a `GatedCell` in one Pallas kernel per pass, on GPUs and TPUs.

    The state and, on a TPU, the recurrent weights stay on the chip between steps. All carries are
    stored for the backward pass. On a CPU, the kernel runs in Pallas's interpreter, which is slow
    and for tests only.

    It has not been benchmarked on a GPU or TPU, so "auto" does not choose it.

    Attributes:
      platform: "cpu", "gpu" or "tpu", to compile for a platform other than the default.

    Raises:
      InputError: the platform is unknown.
    Reference: Pöppel, Beck, Hochreiter (2024), "FlashRNN: optimizing traditional RNNs on modern
    hardware".
    """

    name: ClassVar[str] = "fused"
    platform: Platform | None = None

    def __post_init__(self):
        if self.platform not in (None, "cpu", "gpu", "tpu"):
            raise InputError(f"platform must be cpu, gpu or tpu, got {self.platform!r}.")

    def check(self, cell, steps):
        """Raise InputError unless a kernel can run `cell`, and T is fixed."""
        given, size = given_cell(cell), cell.hidden_size
        name = type(given).__name__
        if given.spatial_axes or not has_recurrent_product(given):
            raise InputError(
                "the fused driver needs a GatedCell with a recurrent product and without spatial "
                f"axes, got {name}; use driver='auto'."
            )
        super().check(cell, steps)
        platform = self.platform or _default_platform()
        most = MOST_UNITS.get(platform, size)
        if size > most or (platform == "gpu" and (size < ROWS or size & (size - 1))):
            sizes = (
                f"a power of two from {ROWS} to {most}" if platform == "gpu" else f"up to {most}"
            )
            raise InputError(
                f"the fused driver needs a hidden_size of {sizes} on a {platform.upper()}, got "
                f"{size}; use driver='auto'."
            )

    def run(self, cell, params, carry, xs):
        """Run the cell; there is no report."""
        nodes = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, DropoutParams))
        if any(isinstance(node, DropoutParams) for node in nodes):
            raise InputError(
                "the fused driver does not support dropout with a key, whose mask differs between "
                "examples; use driver='auto'."
            )
        return *fused(cell, self.platform or _default_platform(), params, carry, xs), None


def _default_platform():
    return {"gpu": "gpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}.get(
        jax.default_backend(), "cpu"
    )


@partial(jax.jit, static_argnames=("cell", "platform"))
def fused(
    cell: GatedCell, platform: Platform, params: Params, carry: Carry, xs: Inputs
) -> tuple[Carry, Float[Array, "T ... O"]]:
    """`scan_steps` in one kernel."""
    batch = jax.tree.leaves(carry)[0].shape[:-1]
    flat = int(np.prod(batch))

    def flatten(axis, leaf):
        shape = leaf.shape
        return leaf.reshape(*shape[:axis], flat, *shape[axis + len(batch) :])

    states = _carries(
        cell,
        platform,
        params,
        jax.tree.map(partial(flatten, 0), carry),
        jax.tree.map(partial(flatten, 1), xs),
    )
    states = jax.tree.map(lambda c: c.reshape(len(c), *batch, *c.shape[2:]), states)
    return at(states, -1), cell.readout(params, states)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _carries(cell, platform, params, carry, xs):
    """The carry after each step, fields [T, B, H]."""

    def step(params, carry, x_gates):
        return cell.update(params, carry, x_gates, cell.mix(params, carry))

    scan = partial(fused_scan, width=cell.hidden_size, platform=platform)
    return scan(step, params, carry, cell.project(params, xs))


def _forward(cell, platform, params, carry, xs):
    carries = _carries(cell, platform, params, carry, xs)
    return carries, (params, carry, xs, carries)


def _backward(cell, platform, residuals, d_carries):
    """Compute the adjoint δ_t of each carry in a kernel, then all gradients from it.

    δ_t-1 = d_carry_t-1 + (∂carry_t / ∂carry_t-1)^T δ_t
    """
    params, carry, xs, carries = residuals

    def pull(params, delta, x):
        d_before, past, x_gates, h_gates = x
        update = partial(cell.update, params, x_gates=x_gates)
        _, pull_update = jax.vjp(lambda c, h: update(c, h_gates=h), past, h_gates)
        _, pull_mix = jax.vjp(partial(cell.mix, params), past)
        d_past, d_h_gates = pull_update(delta)
        return add(d_before, add(d_past, pull_mix(d_h_gates)[0]))

    past = _shifted(carry, carries)
    x_gates, pull_project = jax.vjp(cell.project, params, xs)
    h_gates, pull_mix = jax.vjp(lambda params: cell.mix(params, past), params)
    d_before = _shifted(jax.tree.map(jnp.zeros_like, carry), d_carries)
    last, inputs = at(d_carries, -1), (d_before, past, x_gates, h_gates)
    scan = partial(fused_scan, width=cell.hidden_size, platform=platform, reverse=True)
    before = scan(pull, params, last, inputs)
    deltas = jax.tree.map(lambda d, end: jnp.concatenate([d[1:], end[None]]), before, last)

    _, pull_update = jax.vjp(
        lambda p, *gates: cell.update(p, past, *gates), params, x_gates, h_gates
    )
    d_params, d_x_gates, d_h_gates = pull_update(deltas)
    d_project, d_xs = pull_project(d_x_gates)
    return add(d_params, add(d_project, pull_mix(d_h_gates)[0])), at(before, 0), d_xs


def _shifted(first, states):
    """`first` and all states but the last."""
    return jax.tree.map(lambda one, s: jnp.concatenate([one[None], s[:-1]]), first, states)


_carries.defvjp(_forward, _backward)
