"""Base classes of wrappers: cells that wrap another cell and replace some of its methods.

A wrapper class wraps any cell through its `step`. Its gated form, a subclass that is also a
`GatedWrapper`, wraps a `GatedCell` through `project`, `mix`, `update` and `readout`, so that every
driver can run it. The wrapper class has the methods of both forms; the gated form,
`class MyGatedCell(MyCell, GatedWrapper)`, only sets `step = GatedCell.step`.

`sampled` samples the noise of a wrapper once per run and stores it in the parameters or the inputs.
Without a key, the cell computes with the expected value of the noise.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.typing import Array


@dataclasses.dataclass(frozen=True)
class Wrapper(Cell):
    """A cell that wraps any cell, with the methods of the inner cell unless overridden.

    Attributes:
      noisy: whether the wrapper adds noise in a run with a key.
    """

    noisy: ClassVar[bool] = False
    hidden_size: int = dataclasses.field(init=False, repr=False)
    inner: Cell

    def __post_init__(self):
        object.__setattr__(self, "hidden_size", self.inner.hidden_size)

    def inner_params(self, params):
        """The inner cell's part of the parameters."""
        return params

    def with_inner_params(self, params, inner):
        """The parameters with `inner` as the inner cell's part."""
        return inner

    def init(self, key, input_size):
        """The inner parameters."""
        return self.inner.init(key, input_size)

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        """The inner initial carry."""
        return self.inner.initial_carry(batch_shape, dtype)

    def start(self, params, batch_shape=(), dtype=jnp.float32):
        """The inner start."""
        return self.inner.start(self.inner_params(params), batch_shape, dtype)

    def step(self, params, carry, x):
        """The inner step."""
        return self.inner.step(self.inner_params(params), carry, x)

    def input_size(self, params):
        """The inner input size."""
        return self.inner.input_size(self.inner_params(params))

    def sampled(self, params, xs, key):
        """The noise of the inner cell only."""
        inner, noisy, xs = self.inner.sampled(self.inner_params(params), xs, key)
        return dataclasses.replace(self, inner=inner), self.with_inner_params(params, noisy), xs

    def cast_matrices(self, params, dtype):
        """Cast the inner matrices; the parameters of the wrapper keep their dtype."""
        inner = self.inner.cast_matrices(self.inner_params(params), dtype)
        return self.with_inner_params(params, inner)

    @property
    def output_size(self):
        """The inner output size."""
        return self.inner.output_size

    @property
    def spatial_axes(self):
        """The inner spatial axes."""
        return self.inner.spatial_axes

    @property
    def keep_gate(self):
        """The inner keep gate."""
        return self.inner.keep_gate

    @property
    def write_gate(self):
        """The inner write gate."""
        return self.inner.write_gate


@dataclasses.dataclass(frozen=True)
class GatedWrapper(Wrapper, GatedCell):
    """A gated cell that wraps a gated cell."""

    inner: GatedCell
    step = GatedCell.step

    def project(self, params, xs):
        """The inner projection."""
        return self.inner.project(self.inner_params(params), xs)

    def mix(self, params, carry):
        """The inner mix."""
        return self.inner.mix(self.inner_params(params), carry)

    def update(self, params, carry, x_gates, h_gates):
        """The inner update."""
        return self.inner.update(self.inner_params(params), carry, x_gates, h_gates)

    def readout(self, params, carry):
        """The inner readout."""
        return self.inner.readout(self.inner_params(params), carry)

    def activations(self, params, carry, x_gates, h_gates):
        """The inner activations."""
        return self.inner.activations(self.inner_params(params), carry, x_gates, h_gates)

    def coefficients(self, params, x_gates):
        """The inner coefficients."""
        return self.inner.coefficients(self.inner_params(params), x_gates)

    def state(self, carry):
        """The inner state."""
        return self.inner.state(carry)

    def carry(self, state):
        """The inner carry."""
        return self.inner.carry(state)

    def carries(self, params, first, states, x_gates):
        """The inner carries."""
        return self.carry(states)

    @property
    def gates(self):
        """The inner gates."""
        return self.inner.gates

    @property
    def linear(self):
        """True if the inner cell is linear."""
        return self.inner.linear

    @property
    def elementwise_update(self):
        """True if the inner update is elementwise."""
        return self.inner.elementwise_update


def wrapper_for(cell: Cell, any_cell: type[Wrapper], gated: type[GatedWrapper]) -> type[Wrapper]:
    """The form of a wrapper for `cell`."""
    return gated if isinstance(cell, GatedCell) else any_cell


def innermost(cell: Cell) -> Cell:
    """The cell inside all wrappers."""
    return innermost(cell.inner) if isinstance(cell, Wrapper) else cell


def has_own_start(cell: Cell) -> bool:
    """Return whether `cell.start` may differ from `cell.initial_carry`."""
    if isinstance(cell, Wrapper) and type(cell).start is Wrapper.start:
        return has_own_start(cell.inner)
    return type(cell).start is not Cell.start


def draws_noise(cell: Cell) -> bool:
    """Return whether the cell or one of its inner cells adds noise in a run with a key."""
    if isinstance(cell, Wrapper):
        return cell.noisy or draws_noise(cell.inner)
    return type(cell).sampled is not Cell.sampled


def first_leaf(tree: Any) -> Array:
    """The array of inputs, without the masks and noise after it in a tuple; h of a carry."""
    return jax.tree.leaves(tree)[0]


def on_first_leaf(function: Callable[[Array], Array], tree: Any) -> Any:
    """Apply `function` to the first leaf of a tree."""
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([function(leaves[0]), *leaves[1:]])
