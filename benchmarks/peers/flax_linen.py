"""Flax linen: `nn.RNN` with its cells."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from peers import jax_layer
from peers.problem import GATES, Prepared, Problem, Sizes

CELLS = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "rnn": nn.SimpleCell}


def layer(problem: Problem, devices: int) -> Prepared:
    """Prepare the layer, time-major."""
    rnn = nn.RNN(CELLS[problem.cell](problem.H), time_major=True, return_carry=True)

    def params_of(weights):
        x, h, b = (jnp.split(weights[k], GATES[problem.cell], -1) for k in ("w_x", "w_h", "b"))
        names = {"lstm": "ifgo", "gru": "rzn", "rnn": ("",)}[problem.cell]
        x_bias = problem.cell != "lstm"
        params = {}
        for k, name in enumerate(names):
            params["i" + name] = {"kernel": x[k]} | ({"bias": b[k]} if x_bias else {})
            params["h" + name] = {"kernel": h[k]} | ({} if x_bias else {"bias": b[k]})
        if problem.cell == "gru":
            params["hn"]["bias"] = weights["b_h"]
        return {"cell": params}

    def apply(params, xs):
        carry, ys = rnn.apply({"params": params}, xs)
        return ys, carry[1] if problem.cell == "lstm" else carry

    return jax_layer.prepare(jax_layer.Layer(params_of, apply), problem, devices)


class Classifier(nn.Module):
    """The network of the job."""

    sizes: Sizes

    @nn.compact
    def __call__(self, images):
        """Compute logits [B, C] of images [B, T, D]."""
        xs = nn.Dense(self.sizes.hidden_size)(images)
        ys = nn.RNN(nn.OptimizedLSTMCell(self.sizes.hidden_size))(xs)
        return nn.Dense(self.sizes.classes)(ys[:, -1])


def job(sizes: Sizes, devices: int):
    """Build the training loop of the job."""
    model = Classifier(sizes)
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, sizes.input_size)))
    return jax_layer.job(params, model.apply, sizes, devices)
