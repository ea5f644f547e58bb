"""Arrays divided into tiles, and the operations of JAX on them.

Inside a GPU kernel, the size of an array is a power of two and it cannot be sliced, but the gates
of a cell are side by side in one array [B, G*H]. `Tiles` is such an array as a grid, with a tile
for each gate. `rnn_jax.drivers.tiled_evaluation` evaluates functions on them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

ELEMENTWISE = frozenset(
    (
        *("abs", "add", "add_any", "and", "atan2", "cbrt", "ceil", "clamp", "convert_element_type"),
        *("copy", "cos", "cosh", "div", "eq", "erf", "erf_inv", "exp", "exp2", "expm1", "floor"),
        *("ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max"),
        *("min", "mul", "ne", "neg", "not", "one_minus_square", "or", "pow", "rsqrt", "select_n"),
        *("sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor"),
    )
)
"""Names of the primitives that act on each element separately."""


class Tiles(NamedTuple):
    """A matrix as rows of tiles; a vector as one row of vectors."""

    rows: Sequence[Sequence[Any]]

    @property
    def widths(self) -> list[int]:
        """The number of columns of each tile of a row."""
        return [tile.shape[-1] for tile in self.rows[0]]

    @property
    def heights(self) -> list[int]:
        """The number of rows of each row of tiles."""
        return [row[0].shape[0] if row[0].ndim > 1 else 1 for row in self.rows]


Value = Any
"""An array, a scalar or `Tiles`."""


def tiled(rows) -> Value:
    """Rows of tiles; the array itself if there is only one."""
    rows = tuple(map(tuple, rows))
    return rows[0][0] if len(rows) == len(rows[0]) == 1 else Tiles(rows)


def whole(value: Value) -> Value:
    """Join tiles into one array; return any other value unchanged."""
    if not isinstance(value, Tiles):
        return value
    rows = [jnp.concatenate(row, -1) if len(row) > 1 else row[0] for row in value.rows]
    return jnp.concatenate(rows, 0) if len(rows) > 1 else rows[0]


def _rows(value, atom):
    """A value as rows of tiles, with the shape it was traced with."""
    if isinstance(value, Tiles):
        return value.rows
    return ((jnp.broadcast_to(value, atom.aval.shape),),)


def _concatenate(equation, *values):
    rows = [_rows(value, atom) for value, atom in zip(values, equation.invars, strict=True)]
    last = len(equation.outvars[0].aval.shape) - 1
    if equation.params["dimension"] != last or any(len(row) > 1 for row in rows):
        return None
    return [tiled([[tile for row in rows for tile in row[0]]])]


def _pad(equation, value, fill):
    """Tiles of `fill` around those of a value, each as wide as its last; None if impossible."""
    rows = _rows(value, equation.invars[0])
    *others, (low, high, inside) = equation.params["padding_config"]
    width = rows[0][-1].shape[-1]
    if len(rows) > 1 or inside or any(map(any, others)) or min(low, high) < 0:
        return None
    if not width or low % width or high % width:
        return None
    tile = jnp.broadcast_to(fill, rows[0][-1].shape)
    return [tiled([(tile,) * (low // width) + tuple(rows[0]) + (tile,) * (high // width)])]


def elementwise(equation, *operands):
    """Apply the operation to each tile; None if an operand is neither tiles nor a scalar."""
    grids = [value for value in operands if isinstance(value, Tiles)]
    if any(
        len(grid.rows) != len(grids[0].rows) or grid.widths != grids[0].widths for grid in grids
    ):
        return None
    if not all(isinstance(value, Tiles) or jnp.shape(value) == () for value in operands):
        return None

    def tile(i, j):
        parts = [value.rows[i][j] if isinstance(value, Tiles) else value for value in operands]
        shape = jnp.broadcast_shapes(*map(jnp.shape, parts))
        parts = [jnp.broadcast_to(part, shape) for part in parts]
        return equation.primitive.bind(*parts, **equation.params)

    columns = range(len(grids[0].widths))
    return [tiled([[tile(i, j) for j in columns] for i in range(len(grids[0].rows))])]


def _cut(sizes, start, stop):
    """The range of pieces of these sizes from `start` to `stop`, or None if it cuts a piece."""
    edges = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    if start not in edges or stop not in edges:
        return None
    return slice(edges.index(start), edges.index(stop))


def _split(equation, value):
    axis, sizes = equation.params["axis"], equation.params["sizes"]
    if axis != len(equation.invars[0].aval.shape) - 1:
        return None
    edges = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    cuts = [_cut(value.widths, *edges[n : n + 2]) for n in range(len(sizes))]
    if None in cuts:
        return None
    return [tiled([row[cut] for row in value.rows]) for cut in cuts]


def _slice(equation, value):
    starts, stops = equation.params["start_indices"], equation.params["limit_indices"]
    columns = _cut(value.widths, starts[-1], stops[-1])
    rows = _cut(value.heights, starts[0], stops[0]) if len(starts) > 1 else slice(None)
    strides = equation.params["strides"]
    if None in (columns, rows) or not (strides is None or set(strides) == {1}):
        return None
    return [tiled([row[columns] for row in value.rows[rows]])]


def _unstack(equation, value):
    if equation.params["axis"] or set(value.heights) != {1}:
        return None
    return [tiled([[tile.reshape(tile.shape[-1]) for tile in row]]) for row in value.rows]


def _transpose(equation, value):
    if tuple(equation.params["permutation"]) != (1, 0):
        return None
    return [tiled([[tile.T for tile in column] for column in zip(*value.rows, strict=True)])]


def _reshape(equation, value):
    """Add or remove leading axes of size 1."""
    shape = equation.outvars[0].aval.shape
    if len(value.rows) > 1 or set(shape[:-1]) - {1} or shape[-1] != sum(value.widths):
        return None
    return [tiled([[tile.reshape(*shape[:-1], tile.shape[-1]) for tile in value.rows[0]]])]


def _broadcast(equation, value):
    shape = equation.outvars[0].aval.shape
    if len(value.rows) > 1 or shape[-1] != sum(value.widths):
        return None
    return [
        tiled([[jnp.broadcast_to(tile, (*shape[:-1], tile.shape[-1])) for tile in value.rows[0]]])
    ]


def _dot(equation, x, w):
    """x [B, N] w [N, M], or x [B, M] with w transposed."""
    (left, right), batch = equation.params["dimension_numbers"]
    if left != (1,) or any(batch) or right not in ((0,), (1,)):
        return None
    x, w = (value if isinstance(value, Tiles) else Tiles(((value,),)) for value in (x, w))
    rows = w.rows if right == (0,) else tuple(zip(*w.rows, strict=True))
    if len(x.rows) > 1 or len(x.rows[0]) != len(rows):
        return None

    def product(a, b):
        return equation.primitive.bind(a, b, **equation.params)

    columns = zip(*rows, strict=True)
    sums = [[product(a, b) for a, b in zip(x.rows[0], c, strict=True)] for c in columns]
    return [tiled([[sum(terms[1:], terms[0]) for terms in sums]])]


MAKING = {"concatenate": _concatenate, "pad": _pad}
"""Operations by name that create tiles, even from arrays."""
RULES = {
    "split": _split,
    "slice": _slice,
    "transpose": _transpose,
    "unstack": _unstack,
    "reshape": _reshape,
    "squeeze": _reshape,
    "broadcast_in_dim": _broadcast,
    "dot_general": _dot,
}
"""Operations on tiles by name; a rule returns None where it does not apply."""
