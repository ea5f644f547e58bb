"""Haiku: `hk.dynamic_unroll` with its cores."""

import haiku as hk
import jax
import jax.numpy as jnp

from peers import jax_layer
from peers.problem import Prepared, Problem, Sizes

CORES = {"lstm": hk.LSTM, "gru": hk.GRU, "rnn": hk.VanillaRNN}
DIFFERS = {"gru": "its GRU resets before the product", "rnn": "its VanillaRNN is a relu network"}


def layer(problem: Problem, devices: int) -> Prepared:
    """Prepare the layer, time-major."""

    def network(xs):
        core = CORES[problem.cell](problem.H)
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))

    def params_of(weights):
        w_x, w_h, b = weights["w_x"], weights["w_h"], weights["b"]
        if problem.cell == "lstm":
            # Haiku's gate order is i, g, f, o, and it adds 1 to the logit of the forget gate.
            w, b = _swap(jnp.concatenate([w_x, w_h])), _swap(b)
            return {"lstm/linear": {"w": w, "b": b.at[2 * problem.H : 3 * problem.H].add(-1)}}
        if problem.cell == "gru":
            return {"gru": {"w_i": w_x, "w_h": w_h, "b": b}}
        second = {"w": w_h, "b": jnp.zeros_like(b)}
        return {"vanilla_rnn/linear": {"w": w_x, "b": b}, "vanilla_rnn/linear_1": second}

    transformed = hk.without_apply_rng(hk.transform(network))

    def apply(params, xs):
        ys, state = transformed.apply(params, xs)
        return ys, state.hidden if problem.cell == "lstm" else state

    built = jax_layer.Layer(params_of, apply, DIFFERS.get(problem.cell))
    return jax_layer.prepare(built, problem, devices)


def _swap(w):
    i, f, g, o = jnp.split(w, 4, -1)
    return jnp.concatenate([i, g, f, o], -1)


def job(sizes: Sizes, devices: int):
    """Build the training loop of the job."""

    def network(images):
        xs = hk.Linear(sizes.hidden_size)(jnp.swapaxes(images, 0, 1))
        core = hk.LSTM(sizes.hidden_size)
        _, state = hk.dynamic_unroll(core, xs, core.initial_state(len(images)))
        return hk.Linear(sizes.classes)(state.hidden)

    model = hk.without_apply_rng(hk.transform(network))
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, sizes.input_size)))
    return jax_layer.job(params, model.apply, sizes, devices)
