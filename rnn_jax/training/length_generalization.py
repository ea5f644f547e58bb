"""Training on short strings of a formal language, and accuracy on longer ones."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from rnn_jax.cells.base import Cell
from rnn_jax.datasets.formal_languages import LANGUAGES, Language
from rnn_jax.initializers import Initializer
from rnn_jax.layers.rnn import RNN
from rnn_jax.layers.stacked import Stacked
from rnn_jax.numerics import clip_by_global_norm
from rnn_jax.training.devices.sharding import replicated
from rnn_jax.training.from_scratch import FIRST_TEST, cell_and_init, examples, make_training
from rnn_jax.training.grids import timed_rows
from rnn_jax.typing import Array, Float, Int, Key

SHORTEST = 2
"""Length of the longest strings at the first training step."""


class Point(NamedTuple):
    """A point of the grid."""

    task: str
    cell: str
    seed: int


class Outcome(NamedTuple):
    """The result of one training run.

    Attributes:
      accuracies: mean accuracy on strings of 1 to `bin` symbols, of `bin` + 1 to 2 `bin`, and so on
        up to the longest test strings.
      train_accuracy: accuracy on the last training batch.
      skipped_steps: steps whose loss, gradient or update was not finite.
    """

    accuracies: list[float]
    train_accuracy: float
    skipped_steps: int


def grid(
    tasks: Sequence[str], cells: Sequence[str], seeds: int, hidden_size: int, layers: int
) -> list[Point]:
    """All combinations of tasks, cells and seeds, ordered to minimize compilations.

    Raises:
      InputError: an unknown cell or init.
    """
    for name in cells:
        cell, init = cell_and_init(name, hidden_size)
        create = functools.partial(string_model, cell, LANGUAGES["parity"], layers, init)
        nnx.eval_shape(lambda create=create: create(jax.random.key(0)))
    return [Point(task, cell, n) for task in tasks for cell in cells for n in range(seeds)]


def string_model(
    cell: Cell, language: Language, layers: int, init: Initializer, key: Key[Array, ""]
) -> nnx.Dict:
    """A newly initialized network: `rnn`, stacked layers of one cell, and a linear `output`.

    Raises:
      InputError: an `init` that does not suit the cell.
    """
    rngs, sizes = nnx.Rngs(key), [language.input_size, *[cell.output_size] * (layers - 1)]
    rnn = Stacked([RNN(cell, size, init=init, rngs=rngs) for size in sizes])
    return nnx.Dict(rnn=rnn, output=nnx.Linear(cell.output_size, language.num_classes, rngs=rngs))


def answer_loss(
    logits: Float[Array, "T B C"], targets: Int[Array, "T B"]
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Cross-entropy and accuracy of each string, averaged over its answers; -1 is ignored."""
    asked = targets >= 0
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(targets, 0))
    right = logits.argmax(-1) == targets
    return losses.mean(0, where=asked), right.mean(0, where=asked)


def curriculum(step: int, steps: int, longest: int) -> int:
    """Maximum length of training strings at a step: from 2 to `longest` over half of the steps."""
    return min(longest, SHORTEST + 2 * longest * step // steps)


def make_attempt(
    cell: Cell,
    language: Language,
    *,
    layers: int,
    longest: int,
    test_longest: int,
    test_examples: int,
    bins: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    clip_norm: float,
    devices: Mesh,
) -> Callable[[int, Initializer], Outcome]:
    """Make a function `attempt(seed, init)` that trains and tests a network.

    Example n of a seed is always the same, and none is used twice. The lengths of training strings
    are uniform from 1 to `curriculum`. Test strings have every length up to `test_longest` equally
    often. All seeds share the compiled functions.

    Args:
      cell: the cell.
      language: the language.
      layers: number of recurrent layers.
      longest: number of symbols of the longest training strings.
      test_longest: number of symbols of the longest test strings.
      test_examples: number of test strings per length.
      bins: number of `Outcome.accuracies`; it must divide `test_longest`.
      steps: number of training steps.
      batch_size: number of strings per step.
      learning_rate: learning rate of Adam, with b2 = 0.99.
      clip_norm: maximum global norm of the gradient.
      devices: the mesh.
    """
    # Gradients shrink as the network becomes confident; a smaller b2 keeps the steps large.
    adam = optax.adam(learning_rate, b2=0.99)
    optimizer = optax.chain(clip_by_global_norm(clip_norm), adam)
    per_call = min(steps, 500)
    indices = np.arange(per_call * batch_size).reshape(per_call, batch_size)
    test_lengths = np.arange(1, test_longest + 1).repeat(test_examples).reshape(bins, -1)

    def outputs(model, batch, longest):
        xs, targets = language.sample(*batch, longest)
        return answer_loss(model.output(model.rnn(xs)[1]), targets)

    def loss(model, batch, _):
        losses, right = outputs(model, batch, longest)
        return losses.mean(), {"accuracy": right.mean()}

    @jax.jit
    def test(params, batches):
        model = nnx.merge(graphdef, params)
        # One bin at a time, so that memory does not grow with the number of lengths.
        right = jax.lax.map(lambda batch: outputs(model, batch, test_longest)[1], batches)
        return right.mean(1)

    create = functools.partial(string_model, cell, language, layers)
    graphdef, start, step = make_training(create, loss, optimizer, devices)

    def attempt(seed, init):
        state, done, metrics = start(seed, init), 0, {}
        random = np.random.default_rng(seed)
        while done < steps:
            count = min(per_call, steps - done)
            caps = [curriculum(done + n, steps, longest) for n in range(per_call)]
            lengths = random.integers(1, np.array(caps)[:, None] + 1, indices.shape).ravel()
            keys = examples(seed, done * batch_size, indices.size, devices)
            data = keys, jax.device_put(lengths, replicated(devices))
            state, metrics = step.many(state, data, indices, count)
            gave_up, done = int(state.step) < done + count, int(state.step)
            if gave_up:
                break
        keys = examples(seed, FIRST_TEST, test_lengths.size, devices).reshape(bins, -1)
        accuracies = np.asarray(test(state.params, (keys, test_lengths))).tolist()
        return Outcome(accuracies, float(metrics["accuracy"]), int(state.skipped))

    return attempt


def solve(
    points: Iterable[Point], hidden_size: int, devices: Mesh, **settings: Any
) -> Iterator[dict]:
    """Train each point of a grid; yield its row, with the duration in seconds.

    Args:
      points: points of a `grid`.
      hidden_size: hidden units of each layer.
      devices: the mesh.
      settings: the options of `make_attempt` after `language`.
    """

    @functools.lru_cache(maxsize=1)
    def compiled(cell, task):
        return make_attempt(cell, LANGUAGES[task], devices=devices, **settings)

    def train(point):
        cell, init = cell_and_init(point.cell, hidden_size)
        return compiled(cell, point.task)(point.seed, init)

    return timed_rows(points, train)
