"""Keras on JAX: layers by `stateless_call` under `jax.jit`, models by `fit`."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax.numpy as jnp
import keras

from peers import jax_layer
from peers.problem import Prepared, Problem, Sizes

LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}


def layer(problem: Problem, devices: int) -> Prepared:
    """Prepare the layer; Keras supports batch-major sequences only."""
    rnn = LAYERS[problem.cell](problem.H, return_sequences=True, return_state=True)
    rnn.build((problem.B, problem.T, problem.D))
    fixed = [variable.value for variable in rnn.non_trainable_variables]

    def params_of(weights):
        w_x, w_h, b = weights["w_x"], weights["w_h"], weights["b"]
        if problem.cell == "gru":
            w_x, w_h, b = _swap(w_x), _swap(w_h), _swap(b)
            b_h = jnp.concatenate([jnp.zeros(2 * problem.H), weights["b_h"]])
            b = jnp.stack([b, b_h])
        return [w_x, w_h, b]

    def apply(params, xs):
        (ys, h, *_), _ = rnn.stateless_call(params, fixed, jnp.swapaxes(xs, 0, 1))
        return jnp.swapaxes(ys, 0, 1), h

    return jax_layer.prepare(jax_layer.Layer(params_of, apply), problem, devices)


def _swap(w):
    r, z, n = jnp.split(w, 3, -1)
    return jnp.concatenate([z, r, n], -1)


def job(sizes: Sizes, devices: int):
    """Build the training loop of the job with `fit`, without shuffling."""
    if devices > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    model = keras.Sequential(
        [
            keras.layers.Dense(sizes.hidden_size),
            keras.layers.LSTM(sizes.hidden_size),
            keras.layers.Dense(sizes.classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(sizes.learning_rate), loss=loss)

    def train(images, labels, indices):
        chosen = indices.ravel()
        options = {"batch_size": sizes.batch, "shuffle": False, "verbose": 0}
        return model.fit(images[chosen], labels[chosen], **options).history["loss"][-1]

    return train
