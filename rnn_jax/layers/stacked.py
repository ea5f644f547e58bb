"""Flax NNX layer that runs several layers in sequence."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
from flax import nnx

from rnn_jax.drivers.arguments import cleared
from rnn_jax.drivers.unroll import DriverLike
from rnn_jax.errors import InputError
from rnn_jax.layers.bidirectional import Bidirectional
from rnn_jax.layers.checks import as_layers, call_key, check_flag
from rnn_jax.layers.layout import to_batch_major, to_time_major
from rnn_jax.typing import Array, Bool, Carry, Float, Int, Key
from rnn_jax.wrappers.dropout import check_rates, dropout_mask


class Stacked(nnx.Module):
    """Layers of any cells in sequence: each takes the outputs of the previous one.

        layers = [Bidirectional(GRUCell(32), 28, rngs=rngs), RNN(LSTMCell(64), 64, rngs=rngs)]
        carries, ys = Stacked(layers, dropout=0.1)(xs, rngs=nnx.Rngs(dropout=0))

    Args:
      layers: `RNN`, `Bidirectional` or `Stacked` layers whose sizes match, all time-major.
      residual: add the inputs of a layer to its outputs if both have the same size.
      dropout: the rate, in [0, 1), of dropout between layers in a run with a key. The same units
        are dropped at every step.
      time_major: the layout of the stack's inputs and outputs, as in `RNN`.

    Raises:
      InputError: no layers, layers whose sizes do not match, a layer with `time_major=False`, an
        invalid rate.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        *,
        residual: bool = False,
        dropout: float = 0.0,
        time_major: bool = True,
    ):
        layers = as_layers(layers)
        for n, (below, above) in enumerate(pairwise(layers)):
            if above.input_size != below.output_size:
                raise InputError(
                    f"layers[{n + 1}] takes {above.input_size} features and layers[{n}] gives "
                    f"{below.output_size}; make them equal."
                )
        check_rates(dropout=dropout)
        check_flag("time_major", time_major)
        self.layers = nnx.List(layers)
        self.residual, self.dropout, self.time_major = residual, dropout, time_major
        self.input_size, self.output_size = layers[0].input_size, layers[-1].output_size

    def __call__(
        self,
        xs: Float[Array, "T ... D"],
        carry: Sequence[Carry] | None = None,
        *,
        lengths: Int[Array, "..."] | None = None,
        mask: Bool[Array, "T ..."] | None = None,
        resets: Bool[Array, "T ..."] | None = None,
        reverse: bool = False,
        key: Key[Array, ""] | None = None,
        rngs: nnx.Rngs | None = None,
        tbptt_steps: int | None = None,
        driver: DriverLike | None = None,
    ) -> tuple[tuple[Carry, ...], Float[Array, "T ... O"]]:
        """Run all layers; the arguments are those of `RNN.__call__`, with one carry per layer.

        Returns:
          The final carry of each layer, and the outputs of the last layer.
        """
        self._check(carry, reverse)
        key = call_key(key, rngs)
        axes = _spatial_axes(self.layers[0])
        if not self.time_major:
            xs, mask, resets = to_time_major(xs, mask, resets, spatial_axes=axes)
        if self.residual:
            xs = cleared(xs, lengths, mask)
        options = {
            "lengths": lengths,
            "mask": mask,
            "resets": resets,
            "tbptt_steps": tbptt_steps,
            "driver": driver,
        }
        if reverse:
            options["reverse"] = True
        carries: list = []
        keys: Any = [(None, None)] * len(self.layers)
        if key is not None:
            keys = jax.random.split(key, (len(self.layers), 2))
        for n, layer in enumerate(self.layers):
            own_key, dropout_key = keys[n]
            if n and self.dropout and key is not None:
                xs = xs * dropout_mask(dropout_key, self.dropout, xs.shape[1:], xs.dtype)
            last, ys = layer(xs, None if carry is None else carry[n], key=own_key, **options)
            carries.append(last)
            xs = ys + xs if self.residual and ys.shape == xs.shape else ys
        return tuple(carries), xs if self.time_major else to_batch_major(xs, spatial_axes=axes)

    def _check(self, carry, reverse):
        """Raise InputError for a carry that is not one per layer, or a layer without reverse."""
        if carry is not None and type(carry) not in (tuple, list):
            raise InputError(
                f"carry of Stacked must be a tuple of {len(self.layers)} carries, one for each "
                f"layer, got a {type(carry).__name__}."
            )
        if carry is not None and len(carry) != len(self.layers):
            raise InputError(f"carry must hold {len(self.layers)} carries, got {len(carry)}.")
        if reverse and any(isinstance(layer, Bidirectional) for layer in self.layers):
            raise InputError(
                "a stack with a Bidirectional layer cannot run with reverse=True; leave it out."
            )


def _spatial_axes(layer):
    """The spatial axes of the cell of a layer, which may be a stack or bidirectional."""
    while isinstance(layer, Stacked):
        layer = layer.layers[0]
    layer = layer.forward if isinstance(layer, Bidirectional) else layer
    return layer.cell.spatial_axes if hasattr(layer, "cell") else 0
