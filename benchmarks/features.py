"""Cost of features: masks, stacks and wrappers, relative to the plain layer."""

import dataclasses
import statistics
from functools import partial
from pathlib import Path

from options import check_cells, check_sizes
from timing import interleave, spread, turn

from rnn_jax.errors import InputError
from rnn_jax.files import local_path
from rnn_jax.plotting.tables import markdown
from rnn_jax.training.commands.cli import run
from rnn_jax.training.commands.ranges import Size, check_ranges
from rnn_jax.training.runs.jsonl import append_rows, read_rows
from rnn_jax.training.runs.provenance import provenance

ROWS = "features.jsonl"
BARE, INPUTS = "bare layer", "bare layer, gradient by inputs too"


@dataclasses.dataclass(frozen=True)
class Config:
    """Time a training pass of a plain layer, and of the layer with each feature or wrapper.

    A pass is the gradient of the mean square of all outputs with respect to all parameters. Each
    feature is compared with plain layers that do the same matrix products: one layer; twice its
    time if bidirectional; for a stack of two, one layer plus one with a gradient wrt its inputs.
    """

    cells: tuple[str, ...] = ("lstm", "gru")
    """Cells by name or module:Class."""
    steps: int = 512
    """Sequence length T."""
    batch_size: int = 32
    """Sequences in a batch, B."""
    size: int = 128
    """Input features and hidden units, D = H."""
    repeats: Size = 15
    """Number of timed repeats of each feature."""
    replot: bool = False
    """Only print the table of the rows in --out-dir."""
    out_dir: Path = Path("runs/features")
    """Folder for results; an earlier run in it is renamed."""


def main(config: Config) -> None:
    """Measure, write rows and print the table."""
    config = dataclasses.replace(config, out_dir=local_path(config.out_dir))
    if not config.replot:
        _check(config)
        from rnn_jax.training.runs.run_dir import exclusive

        with exclusive(config.out_dir) as out:
            out.move_aside()
            out.write("config.json", dataclasses.asdict(config))
            for name in dict.fromkeys(config.cells):
                append_rows(out.path / ROWS, _measure(config, name))
    print("", *summary(read_rows(config.out_dir / ROWS)), sep="\n")


def _check(config):
    check_ranges(config)
    if not config.cells:
        raise InputError("--cells needs at least one cell.")
    flags = "--steps", "--batch-size", "--size", "--size"
    check_sizes(flags, config.steps, config.batch_size, config.size, config.size)
    check_cells(config.cells, config.size)


def _measure(config, name):
    import jax

    from rnn_jax.cells.registry import find_cell

    calls = {
        feature: partial(turn, lambda train=train: jax.block_until_ready(train()))
        for feature, train in _passes(config, find_cell(name, config.size)).items()
    }
    seconds = interleave(calls, config.repeats)
    medians = {feature: statistics.median(times) for feature, times in seconds.items()}
    sizes = {"T": config.steps, "B": config.batch_size, "D": config.size, "H": config.size}
    return [
        {
            "cell": name,
            "feature": feature,
            "ratio": medians[feature] / sum(medians[name] for name in _same_work(feature)),
            **spread(times),
            **sizes,
            **provenance(),
        }
        for feature, times in seconds.items()
    ]


def _same_work(feature):
    """The passes that together do the same matrix products as a feature."""
    if "stacked" in feature:
        return BARE, INPUTS
    if "bidirectional" in feature:
        return BARE, BARE
    return (INPUTS,) if feature == INPUTS else (BARE,)


def _passes(config, cell):
    """Compiled gradients by feature, with their arguments bound."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from rnn_jax import (
        RNN,
        Bidirectional,
        Stacked,
        drop_connect,
        dropout,
        layer_norm,
        learned_carry,
        zoneout,
    )

    key = jax.random.key(0)
    T, B, size = config.steps, config.batch_size, config.size
    xs = jax.random.normal(key, (T, B, size))
    chosen = jax.random.bernoulli(jax.random.key(1), 0.5, (T, B))
    lengths = jax.random.randint(jax.random.key(2), (B,), T // 2, T + 1)

    def gradient(make, reverse=False, inputs=False, **arrays):
        options = {"reverse": True} if reverse else {}
        graphdef, params = nnx.split(make(rngs=nnx.Rngs(0)))

        def loss(params, xs, arrays):
            _, ys = nnx.merge(graphdef, params)(xs, **arrays, **options)
            return (ys * ys).mean()

        arguments = params, xs, arrays
        by = (0, 1) if inputs else 0
        return partial(jax.jit(jax.grad(loss, by)).lower(*arguments).compile(), *arguments)

    def stacked(rngs):
        return Stacked([RNN(cell, size, rngs=rngs), RNN(cell, size, rngs=rngs)])

    one = partial(RNN, cell, size)
    return {
        BARE: gradient(one),
        INPUTS: gradient(one, inputs=True),
        "lengths": gradient(one, lengths=lengths),
        "mask": gradient(one, mask=chosen),
        "resets": gradient(one, resets=chosen & (jnp.arange(T)[:, None] % 8 == 0)),
        "reverse": gradient(one, reverse=True),
        "two layers, stacked": gradient(stacked),
        "two layers, stacked, lengths": gradient(stacked, lengths=lengths),
        "two layers, bidirectional": gradient(partial(Bidirectional, cell, size)),
        "two layers, bidirectional, lengths": gradient(
            partial(Bidirectional, cell, size), lengths=lengths
        ),
        "dropout": gradient(partial(RNN, dropout(cell, 0.2, 0.2), size), key=key),
        "DropConnect": gradient(partial(RNN, drop_connect(cell, 0.2), size), key=key),
        "zoneout": gradient(partial(RNN, zoneout(cell, 0.1), size), key=key),
        "layer normalization": gradient(partial(RNN, layer_norm(cell), size)),
        "learned carry": gradient(partial(RNN, learned_carry(cell), size)),
    }


def summary(rows: list[dict]) -> list[str]:
    """Lines of a Markdown table with the time of each feature."""
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    times = {(row["cell"], row["feature"]): row for row in rows}
    columns = ["feature"]
    for cell in cells:
        columns += [f"{cell} [ms]", f"{cell} ratio"]
    table = []
    for feature in dict.fromkeys(row["feature"] for row in rows):
        table.append([feature])
        for row in (times[cell, feature] for cell in cells):
            table[-1] += [f"{row['median_ms']:.3g}", f"{row['ratio']:.2f}"]
    return markdown(columns, table)


if __name__ == "__main__":
    run(main, Config)
