"""Parts of a training step of the MNIST job: its matrix products, and everything around them.

Each variant is a compiled loop over steps and adds one part to the previous variant, so that the
differences are the costs of the parts.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from timing import interleave, spread, turn

from rnn_jax.files import local_path
from rnn_jax.plotting.tables import markdown
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Size, check_ranges
from rnn_jax.training.runs.jsonl import append_rows, read_rows
from rnn_jax.training.runs.provenance import provenance

ROWS = "job_parts.jsonl"
EXAMPLES = 2000
"""Number of random examples in memory; their values do not affect the time."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Time the training step of experiments/mnist_lstm.py, part by part, on all cores."""

    batch_size: Size = 128
    """Examples in a batch, over all devices together."""
    steps: Size = 40
    """Training steps in one timed call."""
    repeats: Size = 15
    """Number of timed repeats of each variant."""
    replot: bool = False
    """Only print the table of the rows in --out-dir."""
    out_dir: Path = Path("runs/job_parts")
    """Folder for results; an earlier run in it is renamed."""


def main(config: Config) -> None:
    """Measure, write rows and print the table."""
    config = dataclasses.replace(config, out_dir=local_path(config.out_dir))
    if not config.replot:
        check_ranges(config)
        from rnn_jax.training.devices import sharding
        from rnn_jax.training.runs.run_dir import exclusive

        sharding.start_devices()
        with exclusive(config.out_dir) as out:
            out.move_aside()
            out.write("config.json", dataclasses.asdict(config))
            append_rows(out.path / ROWS, measure(config))
    print("", *summary(read_rows(config.out_dir / ROWS)), sep="\n")


def measure(config: Config) -> list[dict]:
    """One row for each variant: milliseconds per step."""
    import jax

    def step_seconds(call):
        return turn(lambda: jax.block_until_ready(call())) / config.steps

    calls = variants(config.batch_size, config.steps)
    turns = {name: partial(step_seconds, call) for name, call in calls.items()}
    seconds = interleave(turns, config.repeats)
    shared = {"batch_size": config.batch_size, "steps": config.steps}
    return [{"part": n, **spread(s), **shared, **provenance()} for n, s in seconds.items()]


def variants(batch_size: int, steps: int) -> dict[str, Callable[[], Any]]:
    """Compiled calls of `steps` steps by name, from the products alone to the whole step."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx
    from jax.flatten_util import ravel_pytree
    from jax.sharding import PartitionSpec as P

    from rnn_jax import LSTMCell, SequenceClassifier
    from rnn_jax.numerics import all_finite
    from rnn_jax.training.devices.sharding import data_mesh, replicated
    from rnn_jax.training.losses import classification_loss
    from rnn_jax.training.state import init_state
    from rnn_jax.training.step import make_train_step

    mesh, adam = data_mesh(batch_size), optax.adam(1e-3)
    share = batch_size // mesh.size

    def create():
        return SequenceClassifier(LSTMCell(128), 28, 10, projection_size=128, rngs=nnx.Rngs(0))

    graphdef, first = init_state(create, adam, mesh)
    keys = jax.random.split(jax.random.key(0), 3)
    images = jax.random.uniform(keys[0], (EXAMPLES, 28, 28))
    labels = jax.random.randint(keys[1], (EXAMPLES,), 0, 10)
    indices = jax.random.randint(keys[2], (steps, batch_size), 0, EXAMPLES)
    data = jax.device_put((images, labels, indices), replicated(mesh))

    def batch_at(data, step, gather):
        images, labels, indices = data
        if gather:
            place = jax.lax.axis_index("data") * share
            chosen = jax.lax.dynamic_slice(indices, (step, place), (1, share))[0]
            return images[chosen], labels[chosen]
        place = step % (EXAMPLES - share)
        return tuple(jax.lax.dynamic_slice_in_dim(part, place, share) for part in (images, labels))

    def step_of(parts):
        def step(state, data):
            params, opt_state, count = state
            batch = batch_at(data, count, "gather" in parts)

            def loss(params):
                return classification_loss(nnx.merge(graphdef, params), batch, keys)

            (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params)
            if "reduce" in parts:
                flat, unravel = ravel_pytree((grads, value, metrics))
                grads, value, metrics = unravel(jax.lax.pmean(flat, "data"))
            if "adam" not in parts:
                params = jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads)
                return params, opt_state, count + 1
            updates, new_state = adam.update(grads, opt_state, params)
            new = optax.apply_updates(params, updates), new_state
            if "guard" in parts:
                good = all_finite((value, grads, new))
                new = jax.tree.map(partial(jnp.where, good), new, (params, opt_state))
            return *new, count + 1

        return step

    def products(state, data):
        """The matrix products of the fused model, with its dependencies between steps."""
        h, count = state
        xs = batch_at(data, count, False)[0].swapaxes(0, 1)
        w, w_h, turned = weights

        def forward(h, x):
            z = h @ w_h
            return z[:, :128] + x[:, :128], z

        gates = (xs.reshape(-1, 28) @ w).reshape(28, share, 512)
        h, zs = jax.lax.scan(forward, h, gates)
        _, ds = jax.lax.scan(lambda d, z: ((z @ turned), d), h, zs, reverse=True)
        d_h = ds.reshape(-1, 128).T @ zs.reshape(-1, 512)
        d_x = xs.reshape(-1, 28).T @ zs.reshape(-1, 512)
        return 1e-6 * (h + d_h[:share, :128] + d_x[0, :128]), count + 1

    wide = jax.random.split(jax.random.key(1), 2)
    w_h = jax.random.normal(wide[0], (128, 512)) / 100
    weights = jax.random.normal(wide[1], (28, 512)) / 100, w_h, jnp.array(w_h.T)

    def loop(step, state):
        def whole(state, data):
            return jax.lax.fori_loop(0, steps, lambda _, s: step(s, data), state)

        mapped = jax.shard_map(whole, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)
        return partial(jax.jit(mapped), jax.device_put(state, replicated(mesh)), data)

    start = first.params, first.opt_state, jnp.zeros((), jnp.int32)
    parts, found = set(), {}
    found["products"] = loop(products, (jnp.zeros((share, 128)), jnp.zeros((), jnp.int32)))
    found["+ the rest of loss and gradient"] = loop(step_of(set()), start)
    for name, text in (
        ("reduce", "+ all-reduce of the gradient"),
        ("adam", "+ Adam"),
        ("guard", "+ guard against bad numbers"),
        ("gather", "+ gather of shuffled examples"),
    ):
        parts.add(name)
        found[text] = loop(step_of(set(parts)), start)
    train = make_train_step(graphdef, classification_loss, adam, mesh)
    copied = jax.jit(lambda state: jax.tree.map(jnp.copy, state))  # `many` donates its state.

    def trainer():
        return train.many(copied(first), data[:2], data[2], steps)[0].params

    found["the trainer's step"] = trainer
    return found


def summary(rows: list[dict]) -> list[str]:
    """Lines of a Markdown table: milliseconds per step, and the time that each part adds."""
    table, before = [], None
    for row in rows:
        added = "" if before is None else f"{row['median_ms'] - before:+.2f}"
        spread_ms = "{:.2f} to {:.2f}".format(*row["quartiles_ms"])
        table.append((row["part"], f"{row['median_ms']:.2f}", spread_ms, added))
        before = row["median_ms"]
    return markdown(("variant", "ms per step", "quartiles", "added"), table)


if __name__ == "__main__":
    run(main, Config)
