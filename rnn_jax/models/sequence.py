"""A recurrent layer with an output layer: one output per sequence, or one per step."""

from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.analysis.recording import gate_activations
from rnn_jax.cells.array_ops import dot
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers.arguments import as_sequence
from rnn_jax.drivers.unroll import DriverLike, unroll
from rnn_jax.errors import InputError, check_size
from rnn_jax.initializers import Default, Initializer
from rnn_jax.layers.checks import call_key, check_rngs
from rnn_jax.layers.layout import to_batch_major, to_time_major
from rnn_jax.layers.rnn import RNN
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Key
from rnn_jax.wrappers.fused_projection import fuse_projection as fused
from rnn_jax.wrappers.fused_projection import fusion_pays
from rnn_jax.wrappers.masking import hold


class SequenceClassifier(nnx.Module):
    """Classifier of whole sequences: input layer, recurrent layer, output layer.

    The kernel of the output layer has a standard normal initialization, that of the input layer
    LeCun normal.

    Args:
      cell: any `Cell` with vector inputs that has a `readout`, or whose carry has a field h.
      input_size: D, the number of input features.
      num_classes: C.
      projection_size: the width of the linear layer before the cell; 0 omits the layer.
      readout: the input of the output layer: "carry", the output in the final carry, or "outputs",
        the output of the last valid step. Both are equal up to rounding for a sequence with at
        least one valid step. Without one, "carry" uses the initial carry, and "outputs" uses
        zeros. "mean" is the mean of the outputs of all valid steps.
      fuse_projection: fold the input layer into the cell's input weights where that saves work;
        parameters and gradients are the same; see `rnn_jax.wrappers.fused_projection`.
      init, dtype, driver, time_major: as in `RNN`.
      rngs: the source of the parameters' keys, e.g. `nnx.Rngs(0)`.

    Raises:
      InputError: an invalid argument; a cell with spatial axes, such as `ConvLSTMCell`, or whose
        final carry contains no output.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        num_classes: int,
        *,
        projection_size: int = 128,
        readout: Literal["carry", "outputs", "mean"] = "carry",
        fuse_projection: bool = True,
        init: Initializer = Default(),
        dtype: Any = None,
        driver: DriverLike = "auto",
        time_major: bool = True,
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        _require_vectors(type(self).__name__, cell)
        check_size("input_size", input_size)
        check_size("num_classes", num_classes)
        check_size("projection_size", projection_size, least=0)
        if readout not in ("carry", "outputs", "mean"):
            raise InputError(f"readout must be 'carry', 'outputs' or 'mean', got {readout!r}.")
        if readout == "carry" and not _has_output(cell):
            raise InputError(
                f"the carry of {type(cell).__name__} has no field h and the cell no readout; use "
                "readout='outputs'."
            )
        self.input_size = input_size
        self.readout = readout
        self.fuse_projection = fuse_projection
        self.projection = (
            nnx.Linear(input_size, projection_size, rngs=rngs) if projection_size else None
        )
        options = {"init": init, "dtype": dtype, "driver": driver, "time_major": time_major}
        self.rnn = RNN(cell, projection_size or input_size, **options, rngs=rngs)
        self.output = nnx.Linear(
            cell.output_size, num_classes, kernel_init=jax.nn.initializers.normal(1.0), rngs=rngs
        )

    def __call__(
        self,
        xs: Float[Array, "T ... D"],
        *,
        lengths: Int[Array, "..."] | None = None,
        mask: Bool[Array, "T ..."] | None = None,
        resets: Bool[Array, "T ..."] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "... C"]:
        """Logits [..., C] of sequences; the arguments are those of `RNN.__call__`."""
        key = call_key(key, rngs)
        if not self.rnn.time_major:
            xs, mask, resets = to_time_major(xs, mask, resets)
        cell, params, xs = self._project(xs, fuse=self.fuse_projection and key is None)
        if self.readout != "carry" and not len(xs):
            raise InputError(
                f"readout={self.readout!r} needs at least one step, got T = 0; use readout='carry'."
            )
        options = {"resets": resets, "key": key, "driver": self.rnn.driver}
        carry, ys = unroll(cell, params, xs, lengths=lengths, mask=mask, **options)
        if self.readout != "carry":
            pool = last_outputs if self.readout == "outputs" else mean_outputs
            return self.output(pool(ys, lengths=lengths, mask=mask))
        readout = getattr(cell, "readout", None)
        return self.output(readout(params, carry) if readout else carry.h)

    def gates(
        self,
        xs: Float[Array, "T ... D"],
        *,
        lengths: Int[Array, "..."] | None = None,
        mask: Bool[Array, "T ..."] | None = None,
        resets: Bool[Array, "T ..."] | None = None,
    ) -> dict[str, Float[Array, "T ... H"]]:
        """Gate activations over time by name, in the layout of xs; see `gate_activations`."""
        if not self.rnn.time_major:
            xs, mask, resets = to_time_major(xs, mask, resets)
        cell, params, xs = self._project(xs, self.fuse_projection)
        options: dict[str, Any] = {"lengths": lengths, "mask": mask, "resets": resets}
        gates = gate_activations(cast(GatedCell, cell), params, xs, **options)
        if self.rnn.time_major:
            return gates
        return {name: to_batch_major(gate) for name, gate in gates.items()}

    def _project(self, xs, fuse):
        """The cell, parameters and inputs to run: the projection is fused or already applied."""
        cell, params = self.rnn.cell, self.rnn.weights()
        xs = as_sequence(xs, self.input_size)
        if self.projection is None:
            return cell, params, xs
        projection: Any = self.projection
        kernel, bias = projection.kernel[...], projection.bias[...]
        if self.rnn.dtype is not None:
            kernel = kernel.astype(self.rnn.dtype)
        if fuse and isinstance(cell, GatedCell) and fusion_pays(cell, kernel):
            return *fused(cell, params, kernel, bias), xs
        return cell, params, dot(xs, kernel) + bias


def last_outputs(
    ys: Float[Array, "T ... O"],
    lengths: Int[Array, "..."] | None = None,
    mask: Bool[Array, "T ..."] | None = None,
) -> Float[Array, "... O"]:
    """Output of the last valid step of each sequence; zeros for a sequence without one."""
    if lengths is None and mask is None:
        return ys[-1]
    if mask is None:
        last = jnp.clip(jnp.asarray(lengths), 0, len(ys)) - 1
    else:
        steps = jnp.arange(len(ys)).reshape(-1, *(1,) * (jnp.ndim(mask) - 1))
        last = jnp.where(jnp.asarray(mask), steps, -1).max(0)
    taken = jnp.take_along_axis(ys, jnp.maximum(last, 0)[None, ..., None], axis=0)[0]
    return jnp.where(last[..., None] < 0, 0, taken)


def mean_outputs(
    ys: Float[Array, "T ... O"],
    lengths: Int[Array, "..."] | None = None,
    mask: Bool[Array, "T ..."] | None = None,
) -> Float[Array, "... O"]:
    """Mean output of the valid steps of each sequence; all other outputs must be zero."""
    if lengths is None and mask is None:
        return ys.mean(0)
    valid = jnp.clip(jnp.asarray(lengths), 0, len(ys)) if mask is None else jnp.sum(mask, axis=0)
    return ys.sum(0) / jnp.maximum(valid, 1)[..., None]


def _require_vectors(caller, cell):
    require_cell(caller, cell)
    if cell.spatial_axes:
        raise InputError(
            f"{caller} needs a cell with vector inputs, and {type(cell).__name__} has "
            f"{cell.spatial_axes} spatial axes; use RNN(cell, ...) and your own output layer."
        )


def _has_output(cell):
    return hasattr(cell, "readout") or hasattr(jax.eval_shape(cell.initial_carry), "h")


class SequenceModel(nnx.Module):
    """A recurrent layer, and a linear layer applied to each of its outputs.

    Args:
      cell: any `Cell`.
      input_size: D, the number of input features.
      output_size: C, the number of output features.
      init, dtype, driver, time_major: as in `RNN`.
      rngs: the source of the parameters' keys, e.g. `nnx.Rngs(0)`.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        output_size: int,
        *,
        init: Initializer = Default(),
        dtype: Any = None,
        driver: DriverLike = "auto",
        time_major: bool = True,
        rngs: nnx.Rngs,
    ):
        require_cell(type(self).__name__, cell)
        check_size("output_size", output_size)
        options = {"init": init, "dtype": dtype, "driver": driver, "time_major": time_major}
        self.rnn = RNN(cell, input_size, **options, rngs=rngs)
        self.output = nnx.Linear(cell.output_size, output_size, rngs=rngs)

    def __call__(
        self,
        xs: Float[Array, "T ... D"],
        carry: Carry | None = None,
        *,
        lengths: Int[Array, "..."] | None = None,
        mask: Bool[Array, "T ..."] | None = None,
        resets: Bool[Array, "T ..."] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: nnx.Rngs | None = None,
        tbptt_steps: int | None = None,
    ) -> tuple[Carry, Float[Array, "T ... C"]]:
        """Final carry and outputs [T, ..., C]; the arguments are those of `RNN.__call__`."""
        options = {"lengths": lengths, "mask": mask, "resets": resets, "tbptt_steps": tbptt_steps}
        carry, ys = self.rnn(xs, carry, **options, key=key, rngs=rngs)
        return carry, self.output(ys)

    def reset_carry(self, carry: Carry, resets: Bool[Array, " B"]) -> Carry:
        """Replace the carry [B, H] of each sequence that is reset with that of `cell.start`."""
        leaf = jax.tree.leaves(carry)[0]
        start = self.rnn.cell.start(self.rnn.weights(), leaf.shape[:-1], leaf.dtype)
        resets = resets.reshape(*resets.shape, *(1,) * self.rnn.cell.spatial_axes)
        return hold(resets.astype(jnp.float32), start, carry)
