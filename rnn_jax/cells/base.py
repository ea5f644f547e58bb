"""Base classes of recurrent cells.

A cell is a frozen, hashable dataclass of pure functions, static under `jax.jit`. Its parameters and
its carry are pytrees with named fields.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.cells.array_ops import dot, expand
from rnn_jax.cells.gate_params import check_key, lecun_normal, orthogonal, per_gate
from rnn_jax.errors import InputError, check_array_init, check_fields, check_hashable, check_size
from rnn_jax.typing import Array, ArrayInit, Carry, Float, Inputs, Key, Params


class HiddenCarry(NamedTuple):
    """The carry of a cell whose state is its output h."""

    h: Float[Array, "... H"]


class GatedParams(NamedTuple):
    """Parameters of a gated cell, with the gates concatenated in the order of `cell.gates`."""

    w_x: Float[Array, "D G*H"]
    w_h: Float[Array, "H G*H"]
    b: Float[Array, " G*H"] | None


@dataclasses.dataclass(frozen=True)
class Cell:
    """Base class of all cells: subclasses define `init`, `initial_carry` and `step`.

    Attributes:
      hidden_size: H, the width of h, the first field of the carry. The other fields are also
        vectors, usually as wide as h; see `rnn_jax.cells.matrix_state` for matrix states.
      spatial_axes: number of trailing batch axes that are spatial: 0, or 2 for a cell that
        convolves images [..., height, width, D].
      keep_gate: the gate that multiplies the previous state, such as "f" of an LSTM, or None.
      write_gate: the gate that multiplies the new content, such as "i" of an LSTM, or None.
      elementwise: parameter fields with two or more axes that are not used in a matrix product.
      diagonal_jacobian: whether each entry of the new carry depends only on the same entry of the
        previous carry, so that the Jacobian of a step is diagonal.

    Raises:
      InputError: `hidden_size` is not a positive integer.
    """

    hidden_size: int
    spatial_axes: ClassVar[int] = 0
    keep_gate: ClassVar[str | None] = None
    write_gate: ClassVar[str | None] = None
    elementwise: ClassVar[tuple[str, ...]] = ()
    diagonal_jacobian: ClassVar[bool] = False

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        check_fields(cls)

    def __post_init__(self):
        check_size("hidden_size", self.hidden_size)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            check_hashable(type(self).__name__, field.name, value)
            if field.type == ArrayInit:
                check_array_init(field.name, value)

    def init(self, key: Key[Array, ""], input_size: int) -> Params:
        """Initialize the parameters for inputs [..., D], where D = `input_size`."""
        raise NotImplementedError

    def initial_carry(self, batch_shape: tuple[Any, ...] = (), dtype=jnp.float32) -> Carry:
        """The carry before the first step, independent of the parameters.

        Its first field is [*batch_shape, H]; the others are [*batch_shape, N] with any width N.
        """
        raise NotImplementedError

    def step(self, params: Params, carry: Carry, x: Inputs) -> tuple[Carry, Float[Array, "... O"]]:
        """Run one time step: `(carry, x) -> (carry, y)`."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """O, the width of the outputs; H by default."""
        return self.hidden_size

    def input_size(self, params: Params) -> int | None:
        """The input size D of these parameters, or None if it is unknown."""
        return None

    def start(self, params: Params, batch_shape: tuple[Any, ...] = (), dtype=jnp.float32) -> Carry:
        """The carry before the first step: `initial_carry`, or a carry stored in the parameters."""
        return self.initial_carry(batch_shape, dtype)

    def cast_matrices(self, params: Params, dtype) -> Params:
        """Cast the matrices in the parameters to `dtype`; other parameters are unchanged.

        Matrices are the leaves with two or more axes whose field is not in `elementwise`.
        """

        def cast(path, leaf):
            field = getattr(path[-1], "name", None) or getattr(path[-1], "key", None)
            return leaf if leaf.ndim < 2 or field in self.elementwise else leaf.astype(dtype)

        return jax.tree_util.tree_map_with_path(cast, params)

    def sampled(
        self, params: Params, xs: Inputs, key: Key[Array, ""] | None
    ) -> tuple["Cell", Params, Inputs]:
        """The cell, parameters and inputs of one run, with noise sampled from `key`, if any.

        It is called once per run, even without a key, so that a wrapper can compute parameters here
        that are the same at every step. Most cells return their arguments unchanged.
        """
        return self, params, xs


class GatedCell(Cell):
    """A cell split into three parts, which lets one driver run all such cells efficiently.

    A new cell sets `gates` and defines `update`; the other methods have defaults. If its update
    mixes units, as layer normalization does, it sets `elementwise_update` to False.
    Gates are stored side by side: w_x [D, G*H], w_h [H, G*H], b [G*H].
    """

    gates: ClassVar[tuple[str, ...]]
    carry_type: ClassVar[type[NamedTuple]] = HiddenCarry
    linear: ClassVar[bool] = False
    elementwise_update: ClassVar[bool] = True
    use_bias: ClassVar[bool] = True
    kernel_init: ClassVar[ArrayInit] = staticmethod(lecun_normal)
    recurrent_init: ClassVar[ArrayInit] = staticmethod(orthogonal)

    def init(self, key: Key[Array, ""], input_size: int) -> GatedParams:
        """w_x from `kernel_init` and w_h from `recurrent_init`, gate by gate; b = 0."""
        check_size("input_size", input_size)
        check_key(key)
        key_x, key_h = jax.random.split(key)
        size, count = self.hidden_size, len(self.gates)
        return GatedParams(
            w_x=per_gate(self.kernel_init, key_x, input_size, size, count),
            w_h=per_gate(self.recurrent_init, key_h, size, size, count),
            b=jnp.zeros(count * size, jnp.float32) if self.use_bias else None,
        )

    def initial_carry(self, batch_shape: tuple[Any, ...] = (), dtype=jnp.float32) -> Carry:
        """Zeros [*batch_shape, H] in every field of `carry_type`."""
        shape = *batch_shape, self.hidden_size
        # A separate array for each field: a buffer that appears twice cannot be donated.
        carry_type: Any = self.carry_type
        return carry_type(*(jnp.zeros(shape, dtype) for _ in carry_type._fields))

    def input_size(self, params: Params) -> int:
        """The number of rows of w_x."""
        return params.w_x.shape[-2]

    def project(self, params: Params, xs: Float[Array, "... D"]) -> Float[Array, "... GH"]:
        """The input's contribution to the gates, for many steps at once. Affine in xs."""
        gates = dot(xs, params.w_x)
        return gates if params.b is None else gates + expand(params.b, gates)

    def mix(self, params: Params, carry: Carry) -> Float[Array, "... GH"]:
        """The carry's contribution to the gates: the only matrix product in the loop. Affine."""
        return dot(carry.h, params.w_h)

    def update(
        self,
        params: Params,
        carry: Carry,
        x_gates: Float[Array, "... GH"],
        h_gates: Float[Array, "... GH"],
    ) -> Carry:
        """The new carry. Elementwise over units (see `elementwise_update`); no matrix products."""
        raise NotImplementedError

    def readout(self, params: Params, carry: Carry) -> Float[Array, "... O"]:
        """The output y of a step: the hidden state."""
        return carry.h

    def step(self, params: Params, carry: Carry, x: Inputs) -> tuple[Carry, Float[Array, "... O"]]:
        """Run one time step, composed of project, mix, update and readout."""
        carry = self.update(params, carry, self.project(params, x), self.mix(params, carry))
        return carry, self.readout(params, carry)

    def activations(
        self,
        params: Params,
        carry: Carry,
        x_gates: Float[Array, "... GH"],
        h_gates: Float[Array, "... GH"],
    ) -> tuple[Float[Array, "... H"], ...]:
        """The values of the gates, in the order of `gates`, for `gate_activations`."""
        raise InputError(
            f"{type(self).__name__} has no `activations`; write one that returns the values of "
            f"the gates {self.gates} to record them."
        )

    def split(self, gates: Float[Array, "... GH"]) -> list[Float[Array, "... H"]]:
        """Split an array of gates into blocks [..., H], one for each gate."""
        return jnp.split(gates, len(self.gates), axis=-1)
