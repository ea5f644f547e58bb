"""Conditional NADE: an autoregressive distribution of binary vectors, given a context."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import lecun_normal

from rnn_jax.errors import check_size
from rnn_jax.layers.checks import check_rngs
from rnn_jax.models.sampling import sample_logits
from rnn_jax.typing import Array, Float, Int, Key


class NADE(nnx.Module):
    """Conditional neural autoregressive distribution of binary vectors x [..., W].

    The probability of each element depends on the context [..., H] and on the elements before it:

        hidden_j = relu(context w_c + b_c + sum over i < j of x_i seen_i)
        logit_j = context w_o + b_o + hidden_j . said_j

    The matrices `seen` and `said` are [W, M].

    Args:
      context_size: H.
      width: W, the number of elements.
      hidden_size: M, the number of hidden units.
      rngs: the source of the parameters' keys, e.g. `nnx.Rngs(0)`.

    References: Larochelle, Murray (2011), "The neural autoregressive distribution estimator";
    Boulanger-Lewandowski, Bengio, Vincent (2012), "Modeling temporal dependencies in
    high-dimensional sequences" (conditioned on the state of a recurrent network).
    """

    def __init__(self, context_size: int, width: int, hidden_size: int, *, rngs: nnx.Rngs):
        check_rngs(rngs)
        sizes = ("context_size", context_size), ("width", width), ("hidden_size", hidden_size)
        for name, size in sizes:
            check_size(name, size)
        self.width = width
        self.context = nnx.Linear(context_size, hidden_size + width, rngs=rngs)
        self.seen = nnx.Param(lecun_normal()(rngs.params(), (width, hidden_size), jnp.float32))
        self.said = nnx.Param(
            lecun_normal(-1, -2)(rngs.params(), (width, hidden_size), jnp.float32)
        )

    def log_prob(
        self, context: Float[Array, "... H"], xs: Float[Array, "... W"]
    ) -> Float[Array, "..."]:
        """Log-probability [nats] of vectors of zeros and ones."""
        start, bias = self._split(self.context(context))
        before = xs[..., None, :] * jnp.tri(self.width, k=-1, dtype=xs.dtype)
        hidden = jax.nn.relu(start[..., None, :] + before @ self.seen[...])
        logits = bias + (hidden * self.said[...]).sum(-1)
        return (xs * logits - jax.nn.softplus(logits)).sum(-1)

    def sample(
        self,
        key: Key[Array, ""],
        contexts: Float[Array, "K H"],
        weights: Float[Array, " K"],
        temperature: float = 1.0,
    ) -> Int[Array, " W"]:
        """Sample a vector of zeros and ones.

        Args:
          key: the random key.
          contexts: K contexts [K, H], each of which gives logits.
          weights: the logit of an element is the sum of the contexts' logits times these weights.
          temperature: at least 0; see `sample_logits`.
        """

        def step(hidden, element):
            key, bias, seen, said = element
            logit = weights @ (bias + jax.nn.relu(hidden) @ said)
            x = sample_logits(key, jnp.stack([jnp.zeros_like(logit), logit]), temperature)
            return hidden + x * seen, x

        start, bias = self._split(self.context(contexts))
        elements = jax.random.split(key, self.width), bias.T, self.seen[...], self.said[...]
        return jax.lax.scan(step, start, elements)[1]

    def _split(self, outputs):
        """The initial hidden units and the biases of the logits."""
        return jnp.split(outputs, [outputs.shape[-1] - self.width], -1)
