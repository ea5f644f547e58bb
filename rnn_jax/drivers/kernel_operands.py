"""Arrays as operands of the kernel of `fused_scan`: layout, blocks and reads by a step."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from rnn_jax.drivers.tiles import tiled
from rnn_jax.typing import Array

ROWS = 16
"""Examples in a tile of the batch: the minimum rows of a matrix product in Triton."""
FEW = 8
"""A matrix with fewer rows is read row by row."""


def padded(array: Array, axis: int, multiple: int) -> Array:
    """Pad the end of an axis with zeros, up to a multiple of `multiple`."""
    missing = -array.shape[axis] % multiple
    if not missing:
        return array
    return jnp.pad(array, [(0, missing if n == axis else 0) for n in range(array.ndim)])


def time_block(shape: tuple[int, ...], last: int | None) -> pl.BlockSpec:
    """A block [steps, ..., rows, W] for a tile of the batch and a chunk of steps.

    `last` is the index of the last chunk if chunks run from last to first; otherwise None.
    """
    between = (0,) * (len(shape) - 3)

    def index(tile, part=0):
        return part if last is None else last - part, *between, tile, 0

    return pl.BlockSpec(shape, index)


class Fixed:
    """A constant as a grid of tiles, an array [rows, columns, height, width]."""

    def __init__(self, array: Array, width: int):
        self.axes = array.ndim
        self.tile = jax.ShapeDtypeStruct(array.shape, array.dtype)
        matrix = array.reshape((1,) * (2 - array.ndim) + array.shape)
        tall, wide = matrix.shape
        columns = wide // width if wide % width == 0 else 1
        rows = tall // width if tall % width == 0 else tall if tall < FEW else 1
        grid = matrix.reshape(rows, tall // rows, columns, wide // columns)
        self.array = grid.transpose(0, 2, 1, 3)

    def spec(self, last):
        """The whole array, for every program."""
        del last
        return pl.BlockSpec(self.array.shape, lambda *_: (0, 0, 0, 0))

    def read(self, ref, k, state):
        """The tiles."""
        del k, state
        rows, columns, height, width = self.array.shape
        shape = ((), (width,), (height, width))[self.axes]
        return tiled([[ref[i, j].reshape(shape) for j in range(columns)] for i in range(rows)])


class State:
    """Leaf `index` of the state, [B, W]; the operand holds its value before the first step."""

    def __init__(self, array: Array, index: int):
        self.array, self.index = array, index
        self.tile = jax.ShapeDtypeStruct((ROWS, array.shape[1]), array.dtype)

    def spec(self, last):
        """The rows of the program."""
        del last
        return pl.BlockSpec(self.tile.shape, lambda tile, *_: (tile, 0))

    def read(self, ref, k, state):
        """The current state."""
        del ref, k
        return state[self.index]


class Sequence:
    """Inputs [T, B] or [T, B, columns * W] as tiles, an array [T, columns, B, W]."""

    def __init__(self, array: Array, width: int, chunk: int):
        self.axes, self.chunk = array.ndim, chunk
        self.tile = jax.ShapeDtypeStruct((ROWS, *array.shape[2:]), array.dtype)
        array = array if array.ndim == 3 else array[..., None]
        steps, batch, wide = array.shape
        columns = wide // width if wide % width == 0 else 1
        self.array = array.reshape(steps, batch, columns, wide // columns).transpose(0, 2, 1, 3)

    def spec(self, last):
        """The rows of the program, and the steps of the chunk."""
        _, columns, _, width = self.array.shape
        return time_block((self.chunk, columns, ROWS, width), last)

    def read(self, ref, k, state):
        """The tiles of step k of the chunk."""
        del state
        tiles = [ref[k, j] for j in range(self.array.shape[1])]
        return tiles[0].reshape(ROWS) if self.axes == 2 else tiled([tiles])
