"""Generative model of binary images, one row at a time."""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import UInt8

from rnn_jax.cells.base import Cell
from rnn_jax.errors import InputError, check_size
from rnn_jax.layers.checks import check_rngs
from rnn_jax.layers.rnn import RNN
from rnn_jax.models.factory import from_settings
from rnn_jax.models.nade import NADE
from rnn_jax.typing import Array, Float, Int, Key

Binarization = Literal["threshold", "sampled"]
"""A rule that converts gray values to zeros and ones."""

BINARIZATION_SEED = 28


def binarize(
    images: UInt8[np.ndarray, "*shape"], method: Binarization
) -> UInt8[np.ndarray, "*shape"]:
    """Convert gray values 0-255 to 0 and 1, deterministically.

    "threshold": 1 above 127. "sampled": 1 with probability value / 255, with a fixed seed.

    Reference: Salakhutdinov, Murray (2008), "On the quantitative analysis of deep belief networks"
    (sampled).
    """
    if method == "threshold":
        return (images > 127).astype(np.uint8)
    levels = np.random.default_rng(BINARIZATION_SEED).integers(0, 255, images.shape, np.uint8)
    return (levels < images).astype(np.uint8)


class RowGenerator(nnx.Module):
    """A recurrent layer over rows and a condition, and a NADE for the next row.

    Args:
      cell: any `Cell`.
      condition_size: A, the size of the condition, e.g. of a one-hot class label.
      width: W, the number of pixels in a row.
      row_size: the number of hidden units of the NADE.
      rngs: the source of the parameters' keys, e.g. `nnx.Rngs(0)`.

    Raises:
      InputError: an invalid argument.
    """

    def __init__(
        self, cell: Cell, condition_size: int, width: int, row_size: int, *, rngs: nnx.Rngs
    ):
        check_rngs(rngs)
        sizes = ("condition_size", condition_size), ("width", width), ("row_size", row_size)
        for name, size in sizes:
            check_size(name, size)
        self.rnn = RNN(cell, condition_size + width, rngs=rngs)
        self.row = NADE(cell.output_size, width, row_size, rngs=rngs)

    def nll(
        self, images: UInt8[Array, "B T W"], condition: Float[Array, "B A"]
    ) -> Float[Array, " B"]:
        """Negative log-likelihood [nats] of each image of zeros and ones."""
        rows = jnp.moveaxis(images, 0, 1).astype(jnp.float32)
        above = jnp.pad(rows, ((1, 0), (0, 0), (0, 0)))[:-1]
        condition = jnp.broadcast_to(condition, (len(rows), *condition.shape))
        _, ys = self.rnn(jnp.concatenate([above, condition], -1))
        return -self.row.log_prob(ys, rows).sum(0)

    def sample(
        self,
        keys: Key[Array, " B"],
        condition: Float[Array, "B A"],
        height: int,
        temperature: float = 1.0,
        guidance: float = 1.0,
    ) -> UInt8[Array, "B {height} W"]:
        """Sample images of zeros and ones, each row given the rows above it.

        Args:
          keys: one for each image.
          condition: one for each image [B, A].
          height: T, the number of rows.
          temperature: at least 0; see `sample_logits`.
          guidance: g in `logits = unconditional + g (conditional - unconditional)`; above 1 it
            strengthens the condition. The unconditional logits are those for a condition of zeros,
            which training must have included. At 1 they are not computed.

        Reference: Ho, Salimans (2021), "Classifier-free diffusion guidance".
        """
        check_size("height", height)
        if not np.isfinite(guidance):
            raise InputError(f"guidance must be a finite number, got {guidance}.")
        cell, params = self.rnn.cell, self.rnn.weights()
        weights = [1.0] if guidance == 1 else [guidance, 1 - guidance]
        weights = jnp.array(weights, jnp.float32)

        def sample_one(key, condition):
            conditions = jnp.stack([condition, jnp.zeros_like(condition)])[: len(weights)]

            def step(state, key):
                carries, above = state
                xs = jnp.concatenate([jnp.tile(above, (len(conditions), 1)), conditions], -1)
                carries, ys = cell.step(params, carries, xs)
                row = self.row.sample(key, ys, weights, temperature)
                return (carries, row.astype(above.dtype)), row.astype(jnp.uint8)

            carries = cell.start(params, (len(conditions),))
            start = carries, jnp.zeros(self.row.width, jnp.float32)
            return jax.lax.scan(step, start, jax.random.split(key, height))[1]

        return jax.vmap(sample_one)(keys, condition)


def row_generator_loss(
    model: RowGenerator,
    batch: tuple[UInt8[Array, "B T W"], Float[Array, "B A"]],
    keys: Key[Array, " B"],
    unconditional: float = 0.0,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Mean negative log-likelihood [nats] of images given their conditions.

    Args:
      model: the generator.
      batch: images and conditions.
      keys: one for each example.
      unconditional: the probability that a condition is replaced by zeros, as guidance requires.
    """
    images, condition = batch
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - unconditional))(keys)
    return model.nll(images, condition * keep[:, None]).mean(), {}


def evaluate_and_sample(
    model: RowGenerator,
    batch: tuple[UInt8[Array, "B T W"], Float[Array, "B A"], Int[Array, " B"]],
    *,
    seed: int,
    temperature: float,
    guidance: float,
) -> tuple[Float[Array, " B"], UInt8[Array, "B T W"]]:
    """Negative log-likelihood [nats] of each image, and a sample for each condition.

    Args:
      model: the generator.
      batch: images, conditions, and the number of each example, which sets its key with `seed`.
      seed: the seed of the samples.
      temperature, guidance: see `RowGenerator.sample`.
    """
    images, conditions, numbers = batch
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), numbers)
    samples = model.sample(keys, conditions, images.shape[1], temperature, guidance)
    return model.nll(images, conditions), samples


def build_row_generator(settings: Mapping) -> RowGenerator:
    """Initialize a `RowGenerator` from the settings of a run.

    Args:
      settings: cell, hidden_size, row_size, condition_size, width and seed.

    Raises:
      InputError: a missing setting or an unknown cell.
    """

    def make(cell, options):
        sizes = (settings[name] for name in ("condition_size", "width", "row_size"))
        return RowGenerator(cell, *sizes, rngs=options["rngs"])

    return from_settings(settings, make)
