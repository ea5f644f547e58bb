"""Flax NNX layers over any cell."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.cell import Cell, GatedCell, dot
from rnn_jax.errors import InputError, check_size
from rnn_jax.folding import fold, folding_pays
from rnn_jax.scan import Driver, as_sequence, gate_activations, unroll
from rnn_jax.typing import Array, Carry, Float, Int, Params


class RNN(nnx.Module):
    """A cell with its parameters, run over time.

    Attributes:
      cell: the cell, static.
      params: the cell's parameters, each leaf an `nnx.Param`: `rnn.params.w_h[...]`.

    Args:
      cell: any `Cell`.
      input_size: D, the number of input features.
      dtype: what matrix products are computed in, e.g. `jnp.bfloat16`; by default the parameters'
        own. Parameters and carry stay float32.
      driver: how the scan is run, see `unroll`.
      rngs: where the parameters' key comes from.
    """

    def __init__(
        self, cell: Cell, input_size: int, *, dtype=None, driver: Driver = "auto", rngs: nnx.Rngs
    ):
        if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
            raise InputError(f"dtype must be a floating-point one, got {jnp.dtype(dtype).name}.")
        self.cell = cell
        self.dtype = dtype
        self.driver = driver
        self.params = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params(), input_size)))

    def weights(self) -> Params:
        """The parameters as plain arrays, in `dtype`."""
        params = jax.tree.map(
            lambda leaf: leaf[...], self.params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable)
        )
        return params if self.dtype is None else jax.tree.map(self._cast, params)

    def _cast(self, leaf):
        return leaf.astype(self.dtype)

    def __call__(
        self,
        xs: Float[Array, "T ... D"],
        carry: Carry | None = None,
        *,
        lengths: Int[Array, "..."] | None = None,
    ) -> tuple[Carry, Float[Array, "T ... H"]]:
        """Run over xs [T, ..., D]: the final carry and the outputs [T, ..., H]; see `unroll`."""
        return unroll(self.cell, self.weights(), xs, carry, lengths=lengths, driver=self.driver)

    def gates(
        self,
        xs: Float[Array, "T ... D"],
        carry: Carry | None = None,
        *,
        lengths: Int[Array, "..."] | None = None,
    ) -> dict[str, Float[Array, "T ... H"]]:
        """The gates' values [T, ..., H] over time, by name; see `gate_activations`."""
        return gate_activations(self.cell, self.weights(), xs, carry, lengths=lengths)


class SequenceClassifier(nnx.Module):
    """Input layer, recurrent layer, output layer: one class for a whole sequence.

    The weights of the output layer start standard normal, those of the input layer LeCun normal.

    Args:
      cell: any `Cell` whose carry has a field h.
      input_size: D, the number of input features.
      num_classes: C.
      projection_size: the width of the linear layer before the cell; 0 leaves it out.
      readout: what the output layer sees: "carry", the final carry's h, or "outputs", the output of
        the last time step. Where no sequence is padded they are the same array.
      fold: let the input layer and the cell's input weights be multiplied with each other where
        that saves work; parameters and gradients are the same, see `rnn_jax.folding`.
      dtype, driver: as in `RNN`.
      rngs: where the parameters' keys come from.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        num_classes: int,
        *,
        projection_size: int = 128,
        readout: Literal["carry", "outputs"] = "carry",
        fold: bool = True,
        dtype=None,
        driver: Driver = "auto",
        rngs: nnx.Rngs,
    ):
        check_size("input_size", input_size)
        check_size("num_classes", num_classes)
        check_size("projection_size", projection_size, least=0)
        if readout not in ("carry", "outputs"):
            raise InputError(f"readout must be 'carry' or 'outputs', got {readout!r}.")
        self.input_size = input_size
        self.readout = readout
        self.fold = fold
        self.projection = (
            nnx.Linear(input_size, projection_size, rngs=rngs) if projection_size else None
        )
        self.rnn = RNN(cell, projection_size or input_size, dtype=dtype, driver=driver, rngs=rngs)
        self.output = nnx.Linear(
            cell.hidden_size, num_classes, kernel_init=jax.nn.initializers.normal(1.0), rngs=rngs
        )

    def __call__(
        self, xs: Float[Array, "T ... D"], *, lengths: Int[Array, "..."] | None = None
    ) -> Float[Array, "... C"]:
        """Logits [..., C] for sequences [T, ..., D]."""
        cell, params, xs = self._project(xs)
        if self.readout == "outputs" and not len(xs):
            raise InputError("there are no steps, so no outputs to read out; give xs with T > 0.")
        carry, ys = unroll(cell, params, xs, lengths=lengths, driver=self.rnn.driver)
        return self.output(carry.h if self.readout == "carry" else ys[-1])

    def gates(
        self, xs: Float[Array, "T ... D"], *, lengths: Int[Array, "..."] | None = None
    ) -> dict[str, Float[Array, "T ... H"]]:
        """The gates' values [T, ..., H] over time, by name: what the cell writes, keeps, reads."""
        cell, params, xs = self._project(xs)
        return gate_activations(cell, params, xs, lengths=lengths)

    def _project(self, xs):
        """Cell, parameters and inputs to run, the projection folded in where that pays."""
        cell, params = self.rnn.cell, self.rnn.weights()
        xs = as_sequence(xs, self.input_size)
        if self.projection is None:
            return cell, params, xs
        kernel, bias = self.projection.kernel[...], self.projection.bias[...]
        if self.rnn.dtype is not None:
            kernel, bias = kernel.astype(self.rnn.dtype), bias.astype(self.rnn.dtype)
        if self.fold and isinstance(cell, GatedCell) and folding_pays(cell, kernel):
            return *fold(cell, params, kernel, bias), xs
        return cell, params, dot(xs, kernel) + bias
