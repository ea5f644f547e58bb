"""Binary vectors [W] drawn one part after the other, given a context: a conditional NADE."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import lecun_normal

from rnn_jax.errors import check_size
from rnn_jax.layers.checks import check_rngs
from rnn_jax.models.sampling import sample_logits
from rnn_jax.typing import Array, Float, Int, Key


class NADE(nnx.Module):
    """The chances of each part, given the context [..., H] and the parts before it.

        hidden_j = relu(context w_c + b_c + sum over i < j of x_i seen_i)
        logit_j = context w_o + b_o + hidden_j . said_j

    Shared by all parts are the hidden units, seen and said are [W, M].

    Args:
      context_size: H.
      width: W, the number of parts.
      hidden_size: M, the hidden units.
      rngs: where the parameters' keys come from.

    Reference: Larochelle, Murray, "The neural autoregressive distribution estimator", 2011;
    Boulanger-Lewandowski, Bengio, Vincent, "Modeling temporal dependencies in high-dimensional
    sequences", 2012 (given the state of a recurrent network).
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
        """The log-probability [nats] of vectors of zeros and ones."""
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
        """A vector of zeros and ones, its parts drawn at a temperature; see `sample_logits`.

        The logit of a part is the sum of those that the contexts give, each by its weight.
        """

        def draw(hidden, part):
            key, bias, seen, said = part
            logit = weights @ (bias + jax.nn.relu(hidden) @ said)
            x = sample_logits(key, jnp.stack([jnp.zeros_like(logit), logit]), temperature)
            return hidden + x * seen, x

        start, bias = self._split(self.context(contexts))
        parts = jax.random.split(key, self.width), bias.T, self.seen[...], self.said[...]
        return jax.lax.scan(draw, start, parts)[1]

    def _split(self, both):
        return jnp.split(both, [both.shape[-1] - self.width], -1)
