"""Training of simple recurrent networks on tasks with a delay, with and without flossing."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.analysis.norm_preserving import norm_preserving_regularizer
from rnn_jax.cells.elman import RNNCell
from rnn_jax.datasets.delayed_bits import TASKS
from rnn_jax.datasets.memory_tasks import Task, last_steps_error, last_steps_loss
from rnn_jax.initializers import Default
from rnn_jax.numerics import clip_by_global_norm
from rnn_jax.training.from_scratch import FIRST_TEST, examples, make_training
from rnn_jax.training.grids import timed_rows
from rnn_jax.training.until_solved import task_model

Method = Literal["none", "before", "during", "penalty"]
"""Flossing before training, or before and during training, or a norm-preserving regularizer."""
FIRST_FLOSS, FIRST_MEASURED = 3 * 2**30, 7 * 2**29
"""Numbers of the first sequences for flossing and for measured exponents, above those of tests."""
TEST_EXAMPLES = 200
"""Number of new examples per test."""
FLOSS_LENGTH, QR_EVERY = 30, 2
"""Steps of a sequence for flossing, and steps between two QR decompositions."""
MEASURED_SEQUENCES, MEASURED_LENGTH, BURN_IN = 4, 200, 100
"""Sequences and steps from which exponents are measured, and the initial steps left out."""


class Point(NamedTuple):
    """A point of the grid."""

    task: str
    delay: int
    method: str
    seed: int


class Attempt(NamedTuple):
    """The result of one training run.

    Attributes:
      solved: whether the last error was below the criterion.
      steps: number of training steps.
      errors: fraction of wrong bits on new examples, one after each `check_every` steps.
      exponents: Lyapunov exponents at initialization, when training begins, and at its end.
      skipped_steps: steps whose loss, gradient or update was not finite.
    """

    solved: bool
    steps: int
    errors: list[float]
    exponents: list[list[float]]
    skipped_steps: int


def grid(
    tasks: Sequence[str], delays: Sequence[int], methods: Sequence[str], seeds: int
) -> list[Point]:
    """All combinations of tasks, delays, methods and seeds, ordered to minimize compilations."""
    places = [(task, delay, method) for task in tasks for delay in delays for method in methods]
    return [Point(*place, seed) for place in places for seed in range(seeds)]


def make_floss(
    graphdef: nnx.GraphDef, task: Task, optimizer: optax.GradientTransformation, count: int
) -> Callable[..., tuple[nnx.State, optax.OptState]]:
    """Make `floss(params, opt_state, keys) -> (params, opt_state)`, one flossing step for each key.

    A flossing step is a step of the optimizer on the mean squared exponent of one sequence.

    Args:
      graphdef: the graph definition of a model with a recurrent layer `rnn`.
      task: the task whose inputs drive the network.
      optimizer: any Optax optimizer.
      count: number of leading Lyapunov exponents that are moved toward zero.
    """

    def loss(params, key):
        layer = nnx.merge(graphdef, params).rnn
        xs, _ = task.sample(key[None], FLOSS_LENGTH)
        options = {"count": count, "qr_every": QR_EVERY, "differentiable": True}
        return (lyapunov_spectrum(layer.cell, layer.weights(), xs, **options) ** 2).mean()

    def step(state, key):
        params, opt_state = state
        updates, opt_state = optimizer.update(jax.grad(loss)(params, key), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    @jax.jit
    def floss(params, opt_state, keys):
        return jax.lax.scan(step, (params, opt_state), keys)[0]

    return floss


def make_attempt(
    task: Task,
    delay: int,
    method: Method,
    *,
    hidden_size: int,
    criterion: float,
    max_steps: int,
    check_every: int,
    batch_size: int,
    learning_rate: float,
    floss_exponents: int,
    floss_steps: int,
    floss_again: int,
    floss_rate: float,
    penalty: float,
    devices: Mesh,
) -> Callable[[int], Attempt]:
    """Make a function `attempt(seed)` that trains an `RNNCell` until it solves a task.

    All methods start from the same parameters and see the same examples, of 2 * `delay` steps.
    Example n of a seed is always the same. All seeds share the compiled functions.

    Args:
      task: the task; see `rnn_jax.datasets.delayed_bits`.
      delay: number of steps from an input to the output.
      method: see `Method`.
      hidden_size: hidden units.
      criterion: fraction of wrong bits below which the task is solved.
      max_steps: maximum number of training steps.
      check_every: number of steps between two tests.
      batch_size: number of examples per step.
      learning_rate: learning rate of Adam. Gradients are clipped to norm 1.
      floss_exponents: number of leading Lyapunov exponents that are moved toward zero.
      floss_steps: number of flossing steps before training.
      floss_again: number of flossing steps after each test, for flossing during training.
      floss_rate: learning rate of Adam for flossing. Gradients are clipped to norm 1.
      penalty: factor of the norm-preserving regularizer.
      devices: the mesh.
    """

    def adam(rate):
        return optax.chain(clip_by_global_norm(1.0), optax.adam(rate))

    def loss(model, keys, _):
        xs, targets = task.sample(keys, 2 * delay)

        def error(_, ys):
            return last_steps_loss(model.output(ys), targets)

        value = error(*model.rnn(xs))
        if method == "penalty":
            rnn = model.rnn
            omega = norm_preserving_regularizer(error, rnn.cell, rnn.weights(), xs)
            value += penalty * omega.mean()
        return value, {}

    @jax.jit
    def test(params, keys):
        xs, targets = task.sample(keys, 2 * delay)
        return last_steps_error(nnx.merge(graphdef, params)(xs)[1], targets)

    @jax.jit
    def measure(params, keys):
        layer = nnx.merge(graphdef, params).rnn
        xs, _ = task.sample(keys, MEASURED_LENGTH)
        return lyapunov_spectrum(layer.cell, layer.weights(), xs, burn_in=BURN_IN).mean(0)

    create = functools.partial(task_model, RNNCell(hidden_size), task)
    graphdef, start, step = make_training(create, loss, adam(learning_rate), devices)
    floss_optimizer = adam(floss_rate)
    floss = make_floss(graphdef, task, floss_optimizer, floss_exponents)
    indices = np.arange(check_every * batch_size).reshape(check_every, batch_size)

    def flossing_steps(done):
        if method not in ("before", "during"):
            return 0
        if not done:
            return floss_steps
        return floss_again if method == "during" else 0

    def exponents(seed, params):
        keys = examples(seed, FIRST_MEASURED, MEASURED_SEQUENCES, devices)
        return np.asarray(measure(params, keys), float).round(4).tolist()

    def attempt(seed):
        state, done, flossed, errors = start(seed, Default()), 0, 0, []
        floss_state, spectra = floss_optimizer.init(state.params), [exponents(seed, state.params)]
        while done < max_steps:
            if number := flossing_steps(done):
                keys = examples(seed, FIRST_FLOSS + flossed, number, devices)
                params, floss_state = floss(state.params, floss_state, keys)
                state, flossed = state._replace(params=params), flossed + number
            if not done:
                spectra.append(exponents(seed, state.params))
            count = min(check_every, max_steps - done)
            keys = examples(seed, done * batch_size, indices.size, devices)
            state, _ = step.many(state, keys, indices, count)
            first = FIRST_TEST + len(errors) * TEST_EXAMPLES
            keys = examples(seed, first, TEST_EXAMPLES, devices)
            errors.append(float(test(state.params, keys)))
            gave_up, done = int(state.step) < done + count, int(state.step)
            if gave_up or errors[-1] < criterion:
                break
        spectra.append(exponents(seed, state.params))
        return Attempt(errors[-1] < criterion, done, errors, spectra, int(state.skipped))

    return attempt


def solve(points: Iterable[Point], devices: Mesh, **settings: Any) -> Iterator[dict]:
    """Train each point of a grid; yield its row, with the duration in seconds.

    Args:
      points: points of a `grid`.
      devices: the mesh.
      settings: the options of `make_attempt` after `method`.
    """

    @functools.lru_cache(maxsize=1)
    def compiled(task, delay, method):
        return make_attempt(TASKS[task], delay, method, devices=devices, **settings)

    return timed_rows(points, lambda p: compiled(p.task, p.delay, p.method)(p.seed))
