"""Fixed and slow points of any cell under a constant input, and their linear stability.

The fields of a carry, such as h and c of an LSTM, are concatenated into n values.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells.array_ops import join_fields
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell, require_vectors
from rnn_jax.drivers.auto_axes import compiled
from rnn_jax.drivers.linearized import flat_step, split_fields
from rnn_jax.errors import InputError, check_size
from rnn_jax.typing import Array, Carry, Float, Params


class FixedPoints(NamedTuple):
    """Fixed points and, with a larger tolerance, slow points; the slowest first.

    Attributes:
      carry: the points, fields [K, H].
      speeds: q = ½ |F(carry) - carry|² of each point, [K].
      jacobians: J[i, j] = ∂F(carry)[j]/∂carry[i], [K, n, n], for rows as in `lyapunov_spectrum`.
      eigenvalues: those of the Jacobians, complex [K, n], the largest magnitude first.
      directions: the right eigenvectors of the transposed Jacobians as rows, complex [K, n, n]: a
        perturbation of the carry along row k of a point is multiplied by eigenvalue k in a step.
    """

    carry: Carry
    speeds: np.ndarray
    jacobians: np.ndarray
    eigenvalues: np.ndarray
    directions: np.ndarray

    @property
    def unstable_dimensions(self) -> np.ndarray:
        """The number of eigenvalues outside the unit circle, [K]: 0 for a stable point."""
        return (np.abs(self.eigenvalues) > 1).sum(-1)

    @property
    def time_constants(self) -> np.ndarray:
        """-1 / ln |eigenvalue| in steps, [K, n]: negative for growing directions."""
        with np.errstate(divide="ignore"):
            return -1 / np.log(np.abs(self.eigenvalues))


def find_fixed_points(
    cell: Cell,
    params: Params,
    carries: Carry,
    x: Float[Array, " D"],
    *,
    tolerance: float = 1e-10,
    merge_distance: float = 1e-2,
    outlier_distance: float = 10.0,
    max_iterations: int = 500,
) -> FixedPoints:
    """Find points where the carry stays: h = F(h, x) for a constant input x.

        q(h) = ½ |F(h, x) - h|²

    From each candidate, the Levenberg-Marquardt algorithm minimizes q. Points with q of at most
    `tolerance` are kept; a larger tolerance also keeps slow points, the local minima of q.

    Args:
      cell: any `Cell` without spatial axes.
      params: the parameters, from `cell.init`.
      carries: candidates, fields [N, H], such as carries visited in a run (`unroll_carries`).
      x: the constant input, [D].
      tolerance: the maximum q of a result.
      merge_distance: results closer than this, relative to the mean distance of the candidates from
        their center, are merged.
      outlier_distance: results farther than this from that center, in the same unit, are dropped,
        since the network never reaches them.
      max_iterations: the maximum number of iterations.

    Raises:
      InputError: a cell with spatial axes, carries that do not fit it, an option out of range.
    References: Sussillo, Barak (2013), "Opening the black box: low-dimensional dynamics in
    high-dimensional recurrent neural networks"; Golub, Sussillo (2018), "FixedPointFinder: a
    Tensorflow toolbox for identifying and characterizing fixed points in recurrent neural
    networks", for the outliers.
    """
    require_cell("find_fixed_points", cell, has_params=True)
    check_size("max_iterations", max_iterations)
    options = {"tolerance": tolerance, "merge_distance": merge_distance}
    for name, value in (options | {"outlier_distance": outlier_distance}).items():
        if not value > 0:
            raise InputError(f"{name} must be above 0, got {value!r}.")
    like = _checked(cell, carries)
    x = jnp.asarray(x)
    first = join_fields(jax.tree.map(jnp.asarray, carries))
    found, speeds = map(np.asarray, _minimize(cell, max_iterations, params, like, first, x))

    center = np.asarray(first).mean(0)
    unit = max(float(np.linalg.norm(np.asarray(first) - center, axis=1).mean()), 1e-6)
    near = np.linalg.norm(found - center, axis=1) <= outlier_distance * unit
    chosen = _distinct(found, speeds, near & (speeds <= tolerance), merge_distance * unit)
    return _linearized(cell, params, like, found[chosen], speeds[chosen], x)


def _checked(cell, carries):
    """An example carry; InputError unless `carries` has its fields, [N, H] each."""
    require_vectors("find_fixed_points", cell)
    like = jax.eval_shape(cell.initial_carry)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(carries)]
    count = shapes[0][:1] if shapes else ()
    want = [(*count, *leaf.shape) for leaf in jax.tree.leaves(like)]
    same = jax.tree.structure(carries) == jax.tree.structure(like)
    if not same or shapes != want or count in ((), (0,)):
        raise InputError(
            f"carries must be a {type(like).__name__} of fields [N, H] with N > 0, got "
            f"{type(carries).__name__} of shapes {shapes}."
        )
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)


def _residual(cell, params, like, x, flat):
    return flat_step(cell, like, params, flat, x) - flat


@compiled(static=2)
def _minimize(cell, max_iterations, params, like, first, x):
    """Levenberg-Marquardt for every candidate [N, n]: the points, and their q [N]."""
    residual = partial(_residual, cell, params, like, x)
    eps = float(jnp.finfo(first.dtype).eps)
    eye = jnp.eye(first.shape[1], dtype=first.dtype)

    def q_of(flat):
        return 0.5 * jnp.sum(jax.vmap(residual)(flat) ** 2, axis=-1)

    def downhill(flat, damping):
        r, jacobian = residual(flat), jax.jacfwd(residual)(flat)
        scale = damping * jnp.trace(jacobian.T @ jacobian) / len(flat)
        return flat - jnp.linalg.solve(jacobian.T @ jacobian + scale * eye, jacobian.T @ r)

    def body(state):
        flat, q, damping, count = state
        # In batches, so that the Jacobians of only a few candidates are in memory at a time.
        moved = jax.lax.map(lambda pair: downhill(*pair), (flat, damping), batch_size=64)
        q_moved = q_of(moved)
        better = q_moved < q
        flat = jnp.where(better[:, None], moved, flat)
        damping = jnp.clip(jnp.where(better, damping / 4, damping * 8), eps, 1 / eps)
        return flat, jnp.where(better, q_moved, q), damping, count + 1

    def unfinished(state):
        _, q, damping, count = state
        # A candidate is done at the limit of precision, or when no step decreases q.
        done = (q <= eps**2) | (damping >= 1 / eps)
        return ~done.all() & (count < max_iterations)

    state = first, q_of(first), jnp.full(len(first), 1e-2, first.dtype), 0
    flat, q, *_ = jax.lax.while_loop(unfinished, body, state)
    return flat, q


def _distinct(points, speeds, eligible, distance):
    """Indices of the eligible points, slowest first, without those near a slower one."""
    chosen = []
    for index in sorted(np.flatnonzero(eligible), key=lambda k: speeds[k]):
        gaps = np.linalg.norm(points[chosen] - points[index], axis=1)
        if not (gaps < distance).any():
            chosen.append(index)
    return chosen


@compiled(static=1)
def _jacobians(cell, params, like, points, x):
    """The Jacobian of a step at each point, [K, n, n], computed sequentially."""
    step = partial(flat_step, cell, like, params, x=x)
    return jax.lax.map(lambda flat: jax.jacfwd(step)(flat).T, points)


def _linearized(cell, params, like, points, speeds, x):
    size = points.shape[1]
    jacobians = np.zeros((0, size, size), points.dtype)
    if len(points):
        jacobians = np.asarray(_jacobians(cell, params, like, jnp.asarray(points), x))
    eigenvalues, columns = np.linalg.eig(np.swapaxes(jacobians, 1, 2).astype(np.float64))
    order = np.argsort(-np.abs(eigenvalues), axis=-1)
    eigenvalues = np.take_along_axis(eigenvalues, order, -1)
    rows = np.take_along_axis(np.swapaxes(columns, 1, 2), order[..., None], 1)
    return FixedPoints(
        split_fields(jnp.asarray(points), like), speeds, jacobians, eigenvalues, rows
    )
