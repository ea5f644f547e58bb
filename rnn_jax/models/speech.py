"""Speech recognition: stacked recurrent layers that score a blank and labels at every step."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import require_cell
from rnn_jax.drivers.unroll import DriverLike
from rnn_jax.errors import InputError, check_size
from rnn_jax.initializers import Default, Initializer
from rnn_jax.layers.bidirectional import Bidirectional
from rnn_jax.layers.checks import check_rngs
from rnn_jax.layers.rnn import RNN
from rnn_jax.layers.stacked import Stacked
from rnn_jax.models.factory import from_settings
from rnn_jax.typing import Array, Carry, Float, Int, Key


class CTCModel(nnx.Module):
    """Normalized features, stacked recurrent layers, and scores of a blank and of labels.

    Args:
      cell: any `Cell`, used for all layers.
      mean, scale: the mean and the standard deviation of the features of the training data, [D].
      num_labels: the number of labels; the scores have one more class, the blank, which is first.
      num_layers: the number of recurrent layers.
      bidirectional: each layer reads the sequence in both directions.
      stride: the number of successive frames that are concatenated as the input of one step.
      dropout: the dropout rate between layers in a call with a key.
      init, dtype, driver: as in `RNN`.
      rngs: the source of the parameters' keys, e.g. `nnx.Rngs(0)`.

    Raises:
      InputError: an invalid argument.
    Reference: Graves, Fernández, Gomez, Schmidhuber (2006), "Connectionist temporal classification:
      labelling unsegmented sequence data with recurrent neural networks".
    """

    def __init__(
        self,
        cell: Cell,
        mean: Sequence[float],
        scale: Sequence[float],
        num_labels: int,
        *,
        num_layers: int = 2,
        bidirectional: bool = True,
        stride: int = 1,
        dropout: float = 0.0,
        init: Initializer = Default(),
        dtype: Any = None,
        driver: DriverLike = "auto",
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        require_cell(type(self).__name__, cell)
        sizes = {"num_labels": num_labels, "num_layers": num_layers, "stride": stride}
        for name, size in sizes.items():
            check_size(name, size)
        if len(mean) != len(scale) or min(scale, default=0) <= 0:
            raise InputError(
                f"scale must have a positive number for each of the {len(mean)} means, got {scale}."
            )
        self.mean, self.scale, self.stride = tuple(mean), tuple(scale), stride
        kind = Bidirectional if bidirectional else RNN
        layers, size = [], stride * len(mean)
        for _ in range(num_layers):
            layers.append(kind(cell, size, init=init, dtype=dtype, driver=driver, rngs=rngs))
            size = layers[-1].output_size
        self.rnn = Stacked(layers, dropout=dropout)
        self.output = nnx.Linear(size, 1 + num_labels, rngs=rngs)

    def __call__(
        self,
        xs: Float[Array, "T B D"],
        carry: Sequence[Carry] | None = None,
        *,
        lengths: Int[Array, " B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[tuple[Carry, ...], Float[Array, "S B C"]]:
        """Score the classes at each step of `stride` frames; leftover frames are dropped.

        Args:
          xs: unnormalized features.
          carry: one for each layer, to continue a sequence; requires `bidirectional=False`.
          lengths: the number of frames of each sequence; steps are valid up to lengths // stride.
          key: random key for dropout.

        Returns:
          The final carry of each layer, and the scores [T // stride, B, 1 + num_labels].
        """
        steps, batch = len(xs) // self.stride, xs.shape[1]
        xs = (xs - jnp.asarray(self.mean, xs.dtype)) / jnp.asarray(self.scale, xs.dtype)
        xs = xs[: steps * self.stride].reshape(steps, self.stride, batch, -1)
        xs = xs.swapaxes(1, 2).reshape(steps, batch, -1)
        steps_of = None if lengths is None else lengths // self.stride
        carries, ys = self.rnn(xs, carry, lengths=steps_of, key=key)
        return carries, self.output(ys)


def build_ctc_model(settings: Mapping) -> CTCModel:
    """Initialize a `CTCModel` from the settings of a run.

    Args:
      settings: those of `from_settings`, and feature_mean, feature_scale, num_labels, num_layers,
        bidirectional, stride and dropout.

    Raises:
      InputError: a missing setting or an unknown cell.
    """
    options = "num_layers", "bidirectional", "stride", "dropout"
    return from_settings(
        settings,
        lambda cell, others: CTCModel(
            cell,
            settings["feature_mean"],
            settings["feature_scale"],
            settings["num_labels"],
            **{name: settings[name] for name in options},
            **others,
        ),
    )
