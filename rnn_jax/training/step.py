"""Jitted, data-parallel training steps for any model, loss function and Optax optimizer.

One code path serves one device and many: every device of the mesh holds all parameters, a batch is
split over the mesh axis `data`, and each step ends in one all-reduce of the gradients.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from rnn_jax.numerics import all_finite, global_norm
from rnn_jax.training.devices.sharding import replicated
from rnn_jax.training.state import TrainState, batch_of, example_keys
from rnn_jax.typing import Array, Float

Loss = Callable[..., tuple]
"""`loss(model, batch, keys) -> (loss, metrics)`, or `loss(model, batch, keys, carry) -> (loss,
metrics, carry)` for a `TrainState` with a carry.

`batch` holds the examples of a step, arrays [B, ...], and `keys` [B] a random key for each of them,
which does not depend on the number of devices. `loss` is a mean over the batch, `metrics` a dict of
additional means, and `carry` the arrays [B, ...] that the next step receives.
"""

Metrics = dict[str, Float[Array, ""]]


class TrainStep(NamedTuple):
    """A training step; see `make_train_step`.

    Attributes:
      one: `one(state, batch) -> (state, metrics)`: one step on arrays [B, ...], for a custom loop.
        `state` is donated.
      many: `many(state, data, indices, steps) -> (state, metrics)`: up to S steps in one call, step
        s on the examples `indices[s]`, indices [S, B], of arrays [N, ...]. It takes `steps` <= S
        steps, or ends early after too many skipped steps in a row. Another number of steps does
        not recompile. `state` is donated.
      many_split: as `many`, but each device holds only its own part of the data, and every device
        looks up the same indices [S, B / devices] in its part.
      gradient: `gradient(params, batch, keys, carry) -> ((loss, (metrics, carry)), grads)`.

    `metrics` are those for the last step's batch before its update: loss, the metrics of the loss
    function, and grad_norm, the global norm of the mean gradient.
    """

    one: Callable[..., tuple[TrainState, Metrics]]
    many: Callable[..., tuple[TrainState, Metrics]]
    many_split: Callable[..., tuple[TrainState, Metrics]]
    gradient: Callable


def make_train_step(
    graphdef: nnx.GraphDef,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    max_bad_steps: int = 10,
) -> TrainStep:
    """Make the training step of a model.

    Args:
      graphdef: the graph definition of the model; see `init_state`.
      loss: see `Loss`.
      optimizer: any Optax optimizer; it receives the mean gradient.
      mesh: devices with the axis `data`; see `data_mesh`.
      max_bad_steps: number of consecutive skipped steps that ends `many`.
    """
    gradient = _make_gradient(graphdef, loss)

    def train_step(state, batch, count):
        places = jax.lax.axis_index("data") * count + jnp.arange(count)
        keys = example_keys(state, places)
        (loss, (metrics, carry)), grads = gradient(state.params, batch, keys, state.carry)
        # One vector, so that the devices synchronize once per step.
        finite_carry = all_finite(carry).astype(loss.dtype)
        flat, unravel = ravel_pytree((grads, loss, metrics, finite_carry))
        grads, loss, metrics, finite_carry = unravel(jax.lax.pmean(flat, "data"))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        good = all_finite((loss, grads, params, opt_state)) & (finite_carry == 1)
        new, old = (params, opt_state, carry), (state.params, state.opt_state, state.carry)
        params, opt_state, carry = jax.tree.map(functools.partial(jnp.where, good), new, old)
        skips = state.skipped + ~good, jnp.where(good, 0, state.skipped_in_row + 1)
        state = TrainState(state.step + 1, params, opt_state, state.key, *skips, carry)
        return state, {"loss": loss, **metrics, "grad_norm": global_norm(grads)}

    def one(state, batch):
        return train_step(state, batch, len(jax.tree.leaves(batch)[0]))

    def many(state, data, indices, steps):
        start = state.step

        def goes_on(loop):
            state, _ = loop
            return (state.step < start + steps) & (state.skipped_in_row < max_bad_steps)

        def body(loop):
            state, _ = loop
            batch = batch_of(data, indices[state.step - start])
            return train_step(state, batch, indices.shape[1])

        _, shapes = jax.eval_shape(lambda: body((state, None)))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.while_loop(goes_on, body, (state, zeros))

    # Outside the call, every device holds the whole carry, so that any process can save it alone.
    specs: Any = [P()] * len(TrainState._fields)
    split = TrainState(*specs)._replace(carry=P("data"))

    def jitted(function, *in_specs):
        sharded = jax.shard_map(
            function,
            mesh=mesh,
            in_specs=(split, *in_specs),
            out_specs=(split, P()),
            check_vma=False,
        )
        return jax.jit(sharded, out_shardings=replicated(mesh), donate_argnums=0)

    return TrainStep(
        one=jitted(one, P("data")),
        many=jitted(many, P(), P(None, "data"), P()),
        many_split=jitted(many, P("data"), P(), P()),
        gradient=gradient,
    )


def _make_gradient(graphdef, loss):
    def of_params(params, batch, keys, carry):
        model = nnx.merge(graphdef, params)
        if not jax.tree.leaves(carry):
            value, metrics = loss(model, batch, keys)
            return value, (metrics, carry)
        value, metrics, carry = loss(model, batch, keys, carry)
        return value, (metrics, carry)

    return jax.value_and_grad(of_params, has_aux=True)
