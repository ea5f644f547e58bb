"""The contracts: what a recurrent cell is.

A cell is a frozen dataclass of pure functions. It holds sizes and options, never arrays, so it is
hashable and static under `jax.jit`; its parameters and its carry are pytrees with named fields.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import lecun_normal

from rnn_jax.errors import InputError, check_size
from rnn_jax.initializers import check_key, orthogonal_per_gate, per_gate
from rnn_jax.typing import Array, Carry, Float, Inputs, Key, Params


class HiddenCarry(NamedTuple):
    """The carry of a cell whose only memory is its output."""

    h: Float[Array, "... H"]


class GatedParams(NamedTuple):
    """Weights of a gated cell, the gates side by side in the order of `cell.gates`."""

    w_x: Float[Array, "D G*H"]
    w_h: Float[Array, "H G*H"]
    b: Float[Array, " G*H"]


def dot(x: Float[Array, "... N"], w: Float[Array, "N M"]) -> Float[Array, "... M"]:
    """`x @ w`, multiplied in the dtype of the weights and summed in float32 or wider.

    With bfloat16 weights the product is a bfloat16 product while gates and carry stay float32.
    """
    wide = jnp.promote_types(w.dtype, jnp.float32)
    # As one matrix: with more leading axes XLA's product for the gradient of w runs at half speed.
    rows = x.astype(w.dtype).reshape(-1, w.shape[0])
    if w.shape[0] == 1:
        # A product over one feature becomes a multiplication that XLA's CPU compiler repeats inside
        # the gates, where it keeps their loop from vectorising; over two it stays a product.
        rows, w = jnp.pad(rows, ((0, 0), (0, 1))), jnp.pad(w, ((0, 1), (0, 0)))
    product = jnp.matmul(rows, w, preferred_element_type=wide)
    product = product.astype(jnp.promote_types(wide, x.dtype))
    return product.reshape(*x.shape[:-1], w.shape[1])


@dataclasses.dataclass(frozen=True)
class Cell:
    """Any recurrence at all: subclasses give `init`, `initial_carry` and `step`.

    Raises:
      InputError: a size that is not a positive whole number.
    """

    hidden_size: int

    def __post_init__(self):
        check_size("hidden_size", self.hidden_size)

    def init(self, key: Key[Array, ""], input_size: int) -> Params:
        """Draw parameters for inputs [..., D] with D = `input_size`."""
        raise NotImplementedError

    def initial_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> Carry:
        """The carry before the first step, every field [*batch_shape, H]."""
        raise NotImplementedError

    def step(
        self, params: Params, carry: Carry, x: Float[Array, "... D"]
    ) -> tuple[Carry, Float[Array, "... H"]]:
        """One time step: `(carry, x) -> (carry, y)`."""
        raise NotImplementedError

    def input_size(self, params: Params) -> int | None:
        """The D these parameters were made for, or None where the cell does not say."""
        return None


class GatedCell(Cell):
    """A cell in three parts, so that one driver can make every such cell fast.

    A new cell names its `gates` and writes `update`; all else has a default that can be replaced.
    Gates are stored side by side: w_x [D, G*H], w_h [H, G*H], b [G*H].
    """

    gates: ClassVar[tuple[str, ...]]
    carry_type: ClassVar[type[NamedTuple]] = HiddenCarry

    def init(self, key: Key[Array, ""], input_size: int) -> GatedParams:
        """Input weights LeCun normal, recurrent weights orthogonal, both gate by gate; b = 0."""
        check_size("input_size", input_size)
        check_key(key)
        key_x, key_h = jax.random.split(key)
        size, count = self.hidden_size, len(self.gates)
        return GatedParams(
            w_x=per_gate(lecun_normal(), key_x, input_size, size, count),
            w_h=orthogonal_per_gate(key_h, size, count),
            b=jnp.zeros(count * size, jnp.float32),
        )

    def initial_carry(self, batch_shape: tuple[int, ...] = (), dtype=jnp.float32) -> Carry:
        """Zeros [*batch_shape, H] in every field of `carry_type`."""
        zeros = jnp.zeros((*batch_shape, self.hidden_size), dtype)
        return self.carry_type(*(zeros for _ in self.carry_type._fields))

    def input_size(self, params: Params) -> int:
        """The number of rows of w_x."""
        return params.w_x.shape[0]

    def project(self, params: Params, xs: Float[Array, "... D"]) -> Float[Array, "... GH"]:
        """What the input says to the gates: affine in xs, no past needed, many steps at once."""
        return dot(xs, params.w_x) + params.b

    def mix(self, params: Params, carry: Carry) -> Float[Array, "... GH"]:
        """What the past says to the gates. Affine in the carry; the only matmul inside the loop."""
        return dot(carry.h, params.w_h)

    def update(
        self,
        params: Params,
        carry: Carry,
        x_gates: Float[Array, "... GH"],
        h_gates: Float[Array, "... GH"],
    ) -> Carry:
        """The mathematics of the cell, elementwise; no weight matrix in here."""
        raise NotImplementedError

    def readout(self, params: Params, carry: Carry) -> Float[Array, "... H"]:
        """The output y of a step: the hidden state."""
        return carry.h

    def step(self, params: Params, carry: Carry, x: Inputs) -> tuple[Carry, Float[Array, "... H"]]:
        """One time step, put together from project, mix, update and readout."""
        carry = self.update(params, carry, self.project(params, x), self.mix(params, carry))
        return carry, self.readout(params, carry)

    def activations(
        self, x_gates: Float[Array, "... GH"], h_gates: Float[Array, "... GH"]
    ) -> tuple[Float[Array, "... H"], ...]:
        """The values of the gates, in the order of `gates`: what is watched as the cell runs."""
        raise InputError(
            f"{type(self).__name__} has no `activations`; write one that returns the values of "
            f"the gates {self.gates} to watch them."
        )

    def split(self, gates: Float[Array, "... GH"]) -> list[Float[Array, "... H"]]:
        """The blocks of a fused array, one for each gate."""
        return jnp.split(gates, len(self.gates), axis=-1)


@dataclasses.dataclass(frozen=True)
class GatedWrapper(GatedCell):
    """A gated cell around a gated cell: the inner cell's, but for what a subclass replaces."""

    inner: GatedCell

    def inner_params(self, params: Params) -> Params:
        """The inner cell's part of the parameters."""
        return params

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        """The inner initial carry."""
        return self.inner.initial_carry(batch_shape, dtype)

    def mix(self, params, carry):
        """The inner mix."""
        return self.inner.mix(self.inner_params(params), carry)

    def update(self, params, carry, x_gates, h_gates):
        """The inner update."""
        return self.inner.update(self.inner_params(params), carry, x_gates, h_gates)

    def readout(self, params, carry):
        """The inner readout."""
        return self.inner.readout(self.inner_params(params), carry)

    def activations(self, x_gates, h_gates):
        """The inner activations."""
        return self.inner.activations(x_gates, h_gates)

    @property
    def gates(self) -> tuple[str, ...]:
        """The inner gates."""
        return self.inner.gates
