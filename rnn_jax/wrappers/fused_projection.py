"""A linear layer in front of a cell, fused into the input projection of the cell."""

from typing import NamedTuple

import jax.numpy as jnp

from rnn_jax.cells.array_ops import dot, expand
from rnn_jax.cells.base import GatedCell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Params
from rnn_jax.wrappers.base import GatedWrapper


class FusedProjectionParams(NamedTuple):
    """The product of a linear layer and a cell's input weights, and the cell's parameters."""

    w: Float[Array, "D G*H"]
    b: Float[Array, " G*H"]
    inner: Params


class FusedProjectionCell(GatedWrapper):
    """A cell that takes the inputs of the linear layer; `inner` takes its outputs."""

    def init(self, key, input_size):
        """Raise InputError: `fuse_projection` creates the parameters."""
        raise InputError(
            "FusedProjectionCell has no init; "
            "make the cell and its params with fuse_projection(...)."
        )

    def inner_params(self, params):
        """The inner cell's parameters."""
        return params.inner

    def with_inner_params(self, params, inner):
        """The same projection with `inner` as the inner parameters."""
        return params._replace(inner=inner)

    def input_size(self, params):
        """The input size of the linear layer."""
        return params.w.shape[0]

    def project(self, params, xs):
        """`xs w + b`, with both products merged."""
        gates = dot(xs, params.w)
        return gates + expand(params.b, gates)


def fuse_projection(
    cell: GatedCell, params: Params, kernel: Float[Array, "D P"], bias: Float[Array, " P"]
) -> tuple[FusedProjectionCell, FusedProjectionParams]:
    """A cell that computes for x what `cell` computes for x kernel + bias.

    `cell.project` is affine, project(x) = x A + a, so that

        project(x W + c) = x (W A) + (c A + a),   W A = project(W) - project(0)

    Fusing replaces T B P G H multiplications in a pass with D P G H + T B D G H. The result is
    differentiable in every argument.
    """
    offset = cell.project(params, jnp.zeros_like(bias))
    w = (cell.project(params, kernel) - offset).astype(kernel.dtype)
    fused = FusedProjectionParams(w, cell.project(params, bias), params)
    return FusedProjectionCell(cell), fused


def fusion_pays(cell: GatedCell, kernel: Float[Array, "D P"]) -> bool:
    """Return whether a step of the fused cell takes fewer multiplications than the two layers."""
    inputs, width = kernel.shape
    gates = len(cell.gates) * cell.hidden_size
    return inputs * gates < width * (inputs + gates)
