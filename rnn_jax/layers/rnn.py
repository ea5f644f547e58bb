"""Flax NNX layer that runs one cell over time."""

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.analysis.recording import gate_activations
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import check_memory, require_cell
from rnn_jax.drivers.unroll import DriverLike, check_driver, unroll
from rnn_jax.errors import check_size
from rnn_jax.initializers import Default, Initializer, check_initializer
from rnn_jax.layers.checks import call_key, check_flag, check_rngs, floating_dtype
from rnn_jax.layers.layout import to_batch_major, to_time_major
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Key, Params


class RNN(nnx.Module):
    """A cell with its parameters, run over time.

        layer = RNN(LSTMCell(64), 28, rngs=nnx.Rngs(0))
        carry, ys = layer(xs, lengths=lengths)

    Attributes:
      cell: the cell, static.
      params: the cell's parameters, each leaf an `nnx.Param`: `rnn.params.w_h[...]`.
      input_size, output_size: D and O, the numbers of input and output features.

    Args:
      cell: any `Cell`.
      input_size: D, the number of input features.
      init: the initializer of the parameters, e.g. `initializers.Orthogonal()`.
      dtype: the dtype of matrix products, e.g. `jnp.bfloat16`; by default that of the parameters.
        Only the matrices are cast (see `Cell.cast_matrices`); all other parameters, the sums and
        the carry stay float32.
      driver: the algorithm that runs the recurrence; see `unroll`.
      time_major: the layout of inputs and outputs: [T, ..., D], or [..., T, D] if false.
      rngs: the source of the parameters' key, e.g. `nnx.Rngs(0)`.

    Raises:
      InputError: an invalid argument; parameters that do not fit in memory.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        init: Initializer = Default(),
        dtype: Any = None,
        driver: DriverLike = "auto",
        time_major: bool = True,
        rngs: nnx.Rngs,
    ):
        require_cell(type(self).__name__, cell)
        check_size("input_size", input_size)
        check_initializer(init)
        check_driver(driver)
        check_flag("time_major", time_major)
        check_rngs(rngs)
        check_memory(cell, input_size)
        self.cell = cell
        self.dtype = floating_dtype(dtype)
        self.driver: DriverLike = driver
        self.time_major = time_major
        self.input_size, self.output_size = input_size, cell.output_size
        params = init(cell, rngs.params(), input_size)
        self.params = nnx.data(jax.tree.map(nnx.Param, params))

    def weights(self) -> Params:
        """The parameters as plain arrays, the matrices in `dtype`."""
        params = jax.tree.map(
            lambda leaf: leaf[...], self.params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable)
        )
        return params if self.dtype is None else self.cell.cast_matrices(params, self.dtype)

    def __call__(
        self,
        xs: Float[Array, "T ... D"],
        carry: Carry | None = None,
        *,
        lengths: Int[Array, "..."] | None = None,
        mask: Bool[Array, "T ..."] | None = None,
        resets: Bool[Array, "T ..."] | None = None,
        reverse: bool = False,
        key: Key[Array, ""] | None = None,
        rngs: nnx.Rngs | None = None,
        tbptt_steps: int | None = None,
        driver: DriverLike | None = None,
    ) -> tuple[Carry, Float[Array, "T ... O"]]:
        """Run the cell over time.

        Args:
          xs: inputs [T, ..., D]; [..., T, D] with `time_major=False`.
          carry: the initial carry, fields [..., H]; by default `cell.start(params, ...)`.
          lengths: the number of valid steps [...] of each sequence.
          mask: true for valid steps, [T, ...]; [..., T] with `time_major=False`.
          resets: true where an episode starts, with the shape of `mask`.
          reverse: run from the last step to the first.
          key: a random key for noise such as dropout; without it, there is no noise.
          rngs: an alternative to `key`; the key comes from the stream "dropout".
          tbptt_steps: truncate backpropagation through time to windows of this many steps.
          driver: overrides the layer's driver.

        All arguments except `rngs` are those of `unroll`.

        Returns:
          The final carry, and the outputs in the layout of xs.
        """
        key = call_key(key, rngs)
        axes = self.cell.spatial_axes
        if not self.time_major:
            xs, mask, resets = to_time_major(xs, mask, resets, spatial_axes=axes)
        carry, ys = unroll(
            self.cell,
            self.weights(),
            xs,
            carry,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=reverse,
            key=key,
            tbptt_steps=tbptt_steps,
            driver=self.driver if driver is None else driver,
        )
        return carry, ys if self.time_major else to_batch_major(ys, spatial_axes=axes)

    def step(
        self, x: Float[Array, "... D"], carry: Carry | None = None
    ) -> tuple[Carry, Float[Array, "... O"]]:
        """Run one step, for inputs that arrive one at a time."""
        x = jnp.asarray(x)[None]
        carry, ys = unroll(self.cell, self.weights(), x, carry, driver="scan")
        return carry, ys[0]

    def gates(
        self,
        xs: Float[Array, "T ... D"],
        carry: Carry | None = None,
        *,
        lengths: Int[Array, "..."] | None = None,
        mask: Bool[Array, "T ..."] | None = None,
        resets: Bool[Array, "T ..."] | None = None,
        reverse: bool = False,
        key: Key[Array, ""] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> dict[str, Float[Array, "T ... H"]]:
        """Gate activations over time by name, in the layout of xs; see `gate_activations`."""
        key = call_key(key, rngs)
        axes = self.cell.spatial_axes
        if not self.time_major:
            xs, mask, resets = to_time_major(xs, mask, resets, spatial_axes=axes)
        gates = gate_activations(
            cast(GatedCell, self.cell),
            self.weights(),
            xs,
            carry,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=reverse,
            key=key,
        )
        if self.time_major:
            return gates
        return {name: to_batch_major(gate, spatial_axes=axes) for name, gate in gates.items()}
