"""The LSTM of cuDNN through `jax.experimental.rnn`, on GPUs only."""

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from peers import jax_layer
from peers.problem import Prepared, Problem, Sizes, Unsupported
from rnn_jax import GatedParams
from rnn_jax.drivers.cudnn import packed


def run(weights, xs, hidden_size):
    """Run the LSTM on xs [B, T, D]; return outputs [B, T, H] and the last hidden state [B, H]."""
    batch, steps, features = xs.shape
    zeros, lengths = jnp.zeros((1, batch, hidden_size)), jnp.full(batch, steps, jnp.int32)
    ys, h, _ = rnn.lstm(xs, zeros, zeros, weights, lengths, features, hidden_size, 1, 0.0, False)
    return ys, h[0]


def layer(problem: Problem, devices: int) -> Prepared:
    """Prepare the layer, which supports batch-major sequences only."""
    if problem.cell != "lstm":
        raise Unsupported("it has an LSTM only")

    def params_of(weights):
        return packed(GatedParams(weights["w_x"], weights["w_h"], weights["b"]))

    def apply(params, xs):
        ys, h = run(params, jnp.swapaxes(xs, 0, 1), problem.H)
        return jnp.swapaxes(ys, 0, 1), h

    return jax_layer.prepare(jax_layer.Layer(params_of, apply), problem, devices)


def job(sizes: Sizes, devices: int):
    """Build the training loop of the job."""
    keys, wide = jax.random.split(jax.random.key(0), 3), sizes.hidden_size
    draw = jax.nn.initializers.lecun_normal()
    params = {
        "project": (draw(keys[0], (sizes.input_size, wide)), jnp.zeros(wide)),
        "lstm": rnn.init_lstm_weight(keys[1], wide, wide, 1, False),
        "output": (draw(keys[2], (wide, sizes.classes)), jnp.zeros(sizes.classes)),
    }

    def logits_of(params, images):
        (w, b), (w_out, b_out) = params["project"], params["output"]
        return run(params["lstm"], images @ w + b, wide)[1] @ w_out + b_out

    return jax_layer.job(params, logits_of, sizes, devices)
