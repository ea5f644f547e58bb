"""Train a network to remember bits, and find the fixed points that store them."""

import dataclasses
from pathlib import Path

from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.config import CellOptions, Schedule, TrainConfig, own_options_first
from rnn_jax.training.commands.ranges import Count, NonNegative, Positive, Size

VERDICT = "{test_bits:.2%} of bits right, {stable_points} stable fixed points"


@own_options_first
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(CellOptions, TrainConfig):
    """Train a network on the flip-flop task, and analyze how it remembers.

    Each input channel has pulses of 1 or -1 at random steps; the output is the sign of the last
    pulse of each channel. A trained network stores the bits in 2^bits stable fixed points, with
    saddles between them. The default run takes less than a minute on two CPU cores.
    """

    cell: str = "gru"
    """Recurrent cell: a name in rnn_jax.CELLS, or my_module:MyCell."""
    hidden_size: Size = 64
    bits: Size = 3
    """Number of input channels."""
    length: Size = 100
    """Time steps of a sequence."""
    sequences: Count = 2000
    """Number of sequences for training; 200 others are held out."""
    candidates: Count = 500
    """Number of visited states from which the search for fixed points starts."""
    steps: Count = 2000
    """Number of training steps."""
    batch_size: Count = 64
    learning_rate: Positive = 3e-3
    schedule: Schedule = "cosine"
    clip_norm: NonNegative = 1.0
    log_every: Count = 100
    out_dir: Path = Path("runs/flip_flop")


def main(config: Config) -> dict:
    """Train, evaluate, find fixed points, write the results, and return the summary."""
    config.check()
    import jax
    import jax.numpy as jnp
    import numpy as np

    from rnn_jax import training
    from rnn_jax.analysis.fixed_points import find_fixed_points
    from rnn_jax.analysis.recording import unroll_carries
    from rnn_jax.cells.array_ops import join_fields
    from rnn_jax.datasets.flip_flop import flip_flops
    from rnn_jax.models.factory import build_sequence_model
    from rnn_jax.plotting.fixed_points import fixed_point_figure
    from rnn_jax.plotting.training import training_figure

    with training.open_run(config) as run:
        # Data
        shape = config.length, config.bits
        train = flip_flops(config.seed, config.sequences, *shape)
        test = flip_flops(config.seed + 2**32, 200, *shape)
        order = training.BatchOrder(config.seed, config.sequences, config.batch_size)

        # Model
        data = {"data": (train, test), "source": f"{config.bits} bits, {config.length} steps"}
        sizes = {"input_size": config.bits, "output_size": config.bits}
        create = run.describe(build_sequence_model, **data, **sizes)

        # Optimizer and training step
        optimizer = training.make_optimizer(config, config.steps)
        graphdef, state = training.init_state(create, optimizer, run.mesh, config.seed)
        step = training.make_train_step(graphdef, loss, optimizer, run.mesh, config.bad_step_limit)

        # Training
        trainer = training.Trainer(run, step, order, config.steps, VERDICT)
        if trainer.summary is not None:
            return trainer.summary
        outputs_of = trainer.compile_predict(graphdef, predict, state, test[0])
        state = trainer.train(state, train)

        # Evaluation: bits, and fixed points from states visited on the test sequences
        right = np.sign(outputs_of(state)) == test[1]
        layer = training.model_of(graphdef, state).rnn
        cell, params = layer.cell, layer.weights()
        carries = unroll_carries(cell, params, jnp.asarray(test[0].swapaxes(0, 1)))
        visited = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), carries)
        random = np.random.default_rng(config.seed)
        chosen = random.choice(right[..., 0].size, config.candidates)
        starts = jax.tree.map(lambda leaf: leaf[chosen], visited)
        points = find_fixed_points(cell, params, starts, jnp.zeros(config.bits))
        unstable = points.unstable_dimensions
        summary = trainer.summarize(
            state,
            test_bits=float(right.mean()),
            stable_points=int((unstable == 0).sum()),
            saddles=int((unstable > 0).sum()),
        )

        # Figures
        if run.writes:
            title = f"{config.cell.upper()}, seed {config.seed}: {VERDICT.format(**summary)}"
            states = np.asarray(join_fields(carries))[:, :20].swapaxes(0, 1)
            curve = training_figure(trainer.rows, title, loss_name="squared error")
            space = fixed_point_figure(states, points, title)
            run.save_figures({"training.png": curve, "fixed_points.png": space})
        return trainer.finish(summary)


def loss(model, batch, keys):
    """Mean squared error of all outputs, and the fraction of bits with the right sign."""
    del keys
    import jax.numpy as jnp

    xs, targets = batch
    ys = predict(model, xs)
    right = jnp.sign(ys) == targets
    return ((ys - targets) ** 2).mean(), {"batch_bits": right.mean()}


def predict(model, xs):
    """The outputs [B, T, bits] for pulses [B, T, bits]."""
    return model(xs.swapaxes(0, 1))[1].swapaxes(0, 1)


if __name__ == "__main__":
    run(main, Config)
