"""Orthogonal recurrent matrices, parametrized by skew-symmetric ones."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jax.scipy.linalg import expm

from rnn_jax.cells.array_ops import widest
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import has_param, require_cell
from rnn_jax.errors import InputError
from rnn_jax.wrappers.base import GatedWrapper, Wrapper, wrapper_for


def orthogonal_recurrence(
    cell: Cell, map: Literal["exponential", "cayley"] = "exponential"
) -> Cell:
    """A cell whose recurrent matrices stay orthogonal during training.

        W = exp(A)  or  W = (1 - A/2)^-1 (1 + A/2),      A = L - L^T

    L is the strictly lower triangle of the parameter in place of w_h, a matrix [H, H] for each
    gate. W is computed once per run, in float32 or wider, and then cast to the dtype of w_x.
    W is initialized to rotations by uniform angles in H/2 planes.

    Args:
      cell: any cell whose params have a w_h [H, G*H].
      map: the map from skew-symmetric to orthogonal matrices.

    Raises:
      InputError: params without such a w_h, or an unknown map.
    References: Lezcano-Casado, Martinez-Rubio (2019), "Cheap orthogonal constraints in neural
    networks: a simple parametrization of the orthogonal and unitary group"; Helfrich, Willmott, Ye
    (2018), "Orthogonal recurrent neural networks with scaled Cayley transform".
    """
    require_cell("orthogonal_recurrence", cell)
    if map not in MAPS:
        raise InputError(f"map must be 'exponential' or 'cayley', got {map!r}.")
    square = has_param(cell, "w_h")
    if square:
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
        square = params.w_h.ndim == 2 and params.w_h.shape[0] == cell.hidden_size
        square = square and params.w_h.shape[1] % cell.hidden_size == 0
    if not square:
        raise InputError(
            f"orthogonal_recurrence needs params with w_h [H, G*H], but those of "
            f"{type(cell).__name__} have none; apply it before layer_norm and learned_carry, "
            "directly to a cell with a square recurrent matrix for each gate."
        )
    return wrapper_for(cell, OrthogonalCell, OrthogonalGatedCell)(cell, map)


def cayley(skew):
    """The Cayley transform of a skew-symmetric matrix."""
    eye = jnp.eye(len(skew), dtype=skew.dtype)
    return jnp.linalg.solve(eye - skew / 2, eye + skew / 2)


MAPS = {"exponential": expm, "cayley": cayley}


@dataclasses.dataclass(frozen=True)
class OrthogonalCell(Wrapper):
    """The cell that `orthogonal_recurrence` returns."""

    map: str

    def init(self, key, input_size):
        """The inner parameters, with skew-symmetric blocks of uniform angles in place of w_h."""
        key, key_a = jax.random.split(key)
        params = self.inner.init(key, input_size)
        size, gates = self.hidden_size, params.w_h.shape[1] // self.hidden_size
        angles = jax.random.uniform(key_a, (gates, size), jnp.float32, -jnp.pi, jnp.pi)
        if self.map == "cayley":
            angles = 2 * jnp.tan(angles / 2)
        # Entries [1, 0], [3, 2], ...: one plane each.
        planes = jnp.arange(size) % 2 == 1
        rows = jnp.where(planes[:, None], jnp.eye(size, k=-1, dtype=jnp.float32), 0)
        blocks = angles[:, :, None] * rows[None]
        return params._replace(w_h=jnp.concatenate(list(blocks), axis=1))

    def inner_params(self, params):
        """The inner parameters with orthogonal matrices as w_h."""
        gates = params.w_h.shape[1] // self.hidden_size
        matrices = []
        for block in jnp.split(params.w_h, gates, axis=1):
            lower = jnp.tril(block, -1).astype(widest(block.dtype, jnp.float32))
            matrices.append(MAPS[self.map](lower - lower.T))
        w_h = jnp.concatenate(matrices, axis=1)
        return params._replace(w_h=w_h.astype(params.w_x.dtype))

    def with_inner_params(self, params, inner):
        """`inner` with the skew-symmetric matrices of `params`."""
        return inner._replace(w_h=params.w_h)

    def input_size(self, params):
        """The inner input size, which does not depend on w_h."""
        return self.inner.input_size(params)

    def cast_matrices(self, params, dtype):
        """Cast the inner matrices except w_h, from which W is computed first."""
        return self.inner.cast_matrices(params, dtype)._replace(w_h=params.w_h)

    def sampled(self, params, xs, key):
        """The inner cell, with its orthogonal matrices computed once for the run."""
        return self.inner.sampled(self.inner_params(params), xs, key)


class OrthogonalGatedCell(OrthogonalCell, GatedWrapper):
    """`OrthogonalCell` for a gated cell."""

    step = GatedCell.step
