"""Images written row by row, from the top: how likely they are, and new ones."""

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
from rnn_jax.typing import Array, Float, Key, Memory

Ink = Literal["threshold", "sampled"]
"""How grey becomes black and white."""

INK_SEED = 28


def binarise(images: UInt8[np.ndarray, "*shape"], ink: Ink) -> UInt8[np.ndarray, "*shape"]:
    """Grey values 0-255 as 0 and 1, the same ones whenever it is asked.

    "threshold": 1 above 127. "sampled": 1 with the probability value / 255, drawn by INK_SEED.

    Reference: Salakhutdinov, Murray, "On the quantitative analysis of deep belief networks", 2008
    (sampled).
    """
    if ink == "threshold":
        return (images > 127).astype(np.uint8)
    draws = np.random.default_rng(INK_SEED).integers(0, 255, images.shape, np.uint8)
    return (draws < images).astype(np.uint8)


class Writer(nnx.Module):
    """A recurrent layer that reads each row and what is asked for, and a NADE for the row below.

    Args:
      cell: any `Cell`.
      asked_size: A, the length of what is asked for, e.g. a class as one-hot.
      width: W, the pixels of a row.
      row_size: the hidden units of the NADE.
      rngs: the source of the parameters' keys, e.g. `nnx.Rngs(0)`.

    Raises:
      InputError: an argument of another kind.
    """

    def __init__(self, cell: Cell, asked_size: int, width: int, row_size: int, *, rngs: nnx.Rngs):
        check_rngs(rngs)
        for name, size in (("asked_size", asked_size), ("width", width), ("row_size", row_size)):
            check_size(name, size)
        self.rnn = RNN(cell, asked_size + width, rngs=rngs)
        self.row = NADE(cell.output_size, width, row_size, rngs=rngs)

    def nats(self, images: UInt8[Array, "B T W"], asked: Float[Array, "B A"]) -> Float[Array, " B"]:
        """The negative log-likelihood [nats] of each image of zeros and ones."""
        rows = jnp.moveaxis(images, 0, 1).astype(jnp.float32)
        above = jnp.pad(rows, ((1, 0), (0, 0), (0, 0)))[:-1]
        asked = jnp.broadcast_to(asked, (len(rows), *asked.shape))
        _, ys = self.rnn(jnp.concatenate([above, asked], -1))
        return -self.row.log_prob(ys, rows).sum(0)

    def draw(
        self,
        keys: Key[Array, " B"],
        asked: Float[Array, "B A"],
        height: int,
        temperature: float = 1.0,
        guidance: float = 1.0,
    ) -> UInt8[Array, "B {height} W"]:
        """Images of zeros and ones, each row given those drawn before.

        Args:
          keys: one for each image.
          asked: what is asked for.
          height: T, the rows.
          temperature: at least 0, see `sample_logits`.
          guidance: g in logits = nothing + g (asked - nothing), where `nothing` are the logits of
            a second state to which zeros are asked for; above 1 draws what is asked for more
            clearly, if training has shown zeros too. At 1 there is no second state.

        Reference: Ho, Salimans, "Classifier-free diffusion guidance", 2021.
        """
        check_size("height", height)
        if not np.isfinite(guidance):
            raise InputError(f"guidance must be a finite number, got {guidance}.")
        cell, params = self.rnn.cell, self.rnn.weights()
        weights = [1.0] if guidance == 1 else [guidance, 1 - guidance]
        weights = jnp.array(weights, jnp.float32)

        def draw_one(key, asked):
            asks = jnp.stack([asked, jnp.zeros_like(asked)])[: len(weights)]

            def write(state, key):
                carries, above = state
                xs = jnp.concatenate([jnp.tile(above, (len(asks), 1)), asks], -1)
                carries, ys = cell.step(params, carries, xs)
                row = self.row.sample(key, ys, weights, temperature)
                return (carries, row.astype(above.dtype)), row.astype(jnp.uint8)

            start = cell.start(params, (len(asks),)), jnp.zeros(self.row.width, jnp.float32)
            return jax.lax.scan(write, start, jax.random.split(key, height))[1]

        return jax.vmap(draw_one)(keys, asked)


def writing_loss(
    model: Writer,
    batch: tuple[UInt8[Array, "B T W"], Float[Array, "B A"]],
    keys: Key[Array, " B"],
    memory: Memory,
    unasked: float = 0.0,
) -> tuple[Float[Array, ""], tuple[dict[str, Float[Array, ""]], Memory]]:
    """Mean negative log-likelihood [nats] of images and what was asked for.

    A share `unasked` of the examples, drawn anew each time, is asked for by zeros; see `draw`.
    """
    images, asked = batch
    told = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - unasked))(keys)
    return model.nats(images, asked * told[:, None]).mean(), ({}, memory)


def build_writer(settings: Mapping) -> Writer:
    """The model that settings describe: cell, hidden_size, row_size, asked_size, width and seed.

    Raises:
      InputError: a setting that is missing, or a cell that is not known.
    """

    def make(cell, options):
        sizes = settings["asked_size"], settings["width"], settings["row_size"]
        return Writer(cell, *sizes, rngs=options["rngs"])

    return from_settings(settings, make)
