"""Linear into linear: a projection with nothing nonlinear behind it, folded into a cell's own."""

from typing import NamedTuple

import jax.numpy as jnp

from rnn_jax.cells.array_ops import dot, expand
from rnn_jax.cells.base import GatedCell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Params
from rnn_jax.wrappers.base import GatedWrapper


class FoldedParams(NamedTuple):
    """A projection and a cell's input weights as one matrix, beside the cell's own parameters."""

    w: Float[Array, "D G*H"]
    b: Float[Array, " G*H"]
    inner: Params


class FoldedCell(GatedWrapper):
    """The cell that takes the projection's inputs and gives what `inner` gives for its outputs."""

    def init(self, key, input_size):
        """Refused: the parameters come from `fold`."""
        raise InputError("a FoldedCell has no parameters of its own; make both with fold(...).")

    def inner_params(self, params):
        """The inner cell's parameters."""
        return params.inner

    def with_inner_params(self, params, inner):
        """The same projection around other parameters."""
        return params._replace(inner=inner)

    def input_size(self, params):
        """The number of inputs of the projection."""
        return params.w.shape[0]

    def project(self, params, xs):
        """Both products at once: `xs w + b`."""
        gates = dot(xs, params.w)
        return gates + expand(params.b, gates)


def fold(
    cell: GatedCell, params: Params, kernel: Float[Array, "D P"], bias: Float[Array, " P"]
) -> tuple[FoldedCell, FoldedParams]:
    """The cell for x that equals `cell` for x kernel + bias; differentiable in every argument.

    `cell.project` is affine, project(x) = x A + a, so that

        project(x W + c) = x (W A) + (c A + a),   W A = project(W) - project(0)

    and folding asks nothing of a cell but `project`: T B P G H multiplications a pass become
    D P G H once and T B D G H.
    """
    offset = cell.project(params, jnp.zeros_like(bias))
    w = (cell.project(params, kernel) - offset).astype(kernel.dtype)
    folded = FoldedParams(w, cell.project(params, bias), params)
    return FoldedCell(cell), folded


def folding_pays(cell: GatedCell, kernel: Float[Array, "D P"]) -> bool:
    """Whether a step of the folded cell multiplies less than a step of both layers apart."""
    inputs, width = kernel.shape
    gates = len(cell.gates) * cell.hidden_size
    return inputs * gates < width * (inputs + gates)
