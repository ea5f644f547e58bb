"""The reason that training stopped at steps that are not finite."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rnn_jax.numerics import first_bad_leaf, first_bad_primitive
from rnn_jax.training.state import TrainState, example_keys
from rnn_jax.typing import Data


def why_bad(gradient: Callable, state: TrainState, batch: Data, debug_nans: bool) -> str:
    """Explain in one sentence why the last step was skipped, by recomputing it.

    Args:
      gradient: see `TrainStep`.
      state: the state after the skipped step.
      batch: the examples of the step, arrays [B, ...].
      debug_nans: name the operation that produced the first non-finite value.
    """
    state = jax.device_get(state)
    step, size = int(state.step), len(jax.tree.leaves(batch)[0])
    keys = example_keys(state._replace(step=step - 1), jnp.arange(size))
    args = jax.device_put((state.params, batch, keys, state.carry))
    (loss, _), grads = jax.jit(gradient)(*args)
    leaf = first_bad_leaf(grads)
    gradients = (
        f"the gradient of {leaf} was the first that is not finite"
        if leaf
        else "every gradient was finite, and the update by them was not"
    )
    count = int(state.skipped_in_row)
    text = f"step {step} was skipped, the last of {count} in a row: loss {loss}, {gradients}"
    if debug_nans:
        primitive = first_bad_primitive(gradient, *args) or "none of the model's own operations"
        return f"{text}; the first bad number: {primitive}."
    return (
        f"{text}; the parameters are those before. Use a lower `learning_rate` or "
        "`clip_norm=1`, or let `debug_nans=True` name the operation."
    )
