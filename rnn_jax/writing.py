"""Images written row by row, from the top: how likely they are, and new ones.

At every row the network reads the row above it, and what is asked for, e.g. a class one-hot. Its
outputs are the logits of a mixture over the row, see `rnn_jax.mixtures`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from rnn_jax.mixtures import mixture_log_prob, sample_mixture
from rnn_jax.models import SequenceModel
from rnn_jax.typing import Array, Float, Key

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


def image_nats(
    model: SequenceModel, images: UInt8[Array, "B T W"], asked: Float[Array, "B A"]
) -> Float[Array, " B"]:
    """The negative log-likelihood [nats] of each image of zeros and ones, given what was asked."""
    rows = jnp.moveaxis(images, 0, 1).astype(jnp.float32)
    above = jnp.pad(rows, ((1, 0), (0, 0), (0, 0)))[:-1]
    asked = jnp.broadcast_to(asked, (len(rows), *asked.shape))
    _, logits = model(jnp.concatenate([above, asked], -1))
    return -mixture_log_prob(logits, rows).sum(0)


def draw_images(
    model: SequenceModel,
    asked: Float[Array, "B A"],
    keys: Key[Array, " B"],
    height: int,
    width: int,
    temperature: float = 1.0,
) -> UInt8[Array, "B {height} {width}"]:
    """Images of zeros and ones, each row drawn given the rows drawn before, at a temperature."""
    cell, params = model.rnn.cell, model.rnn.weights()

    def draw(asked, key):
        def write(state, key):
            carry, above = state
            carry, y = cell.step(params, carry, jnp.concatenate([above, asked]))
            row = sample_mixture(key, model.output(y), width, temperature)
            return (carry, row.astype(above.dtype)), row.astype(jnp.uint8)

        start = cell.initial_carry(), jnp.zeros(width)
        return jax.lax.scan(write, start, jax.random.split(key, height))[1]

    return jax.vmap(draw)(asked, keys)
