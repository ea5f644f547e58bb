"""Parameters for each gate, as created by cells and initializers."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import initializers

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, ArrayInit, Float, Key, Params


def lecun_normal(key: Key[Array, ""], shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Normal values with variance 1 / fan-in."""
    return initializers.lecun_normal()(key, shape, dtype)


def orthogonal(key: Key[Array, ""], shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """A matrix with orthonormal rows or columns."""
    return initializers.orthogonal()(key, shape, dtype)


def identity(key: Key[Array, ""], shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """The identity matrix."""
    return jnp.eye(*shape, dtype=dtype)


def check_key(key: Any) -> None:
    """Raise InputError unless `key` is a single random key, new-style or legacy."""
    dtype: Any = getattr(key, "dtype", None)
    shape: Any = getattr(key, "shape", None)
    new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    old = dtype == "uint32" and shape in ((2,), (4,))  # 4 words of the rbg generators.
    if not ((new and shape == ()) or old):
        got = f"{dtype}{list(shape)}" if dtype is not None else repr(key)
        raise InputError(f"key must be one key, as jax.random.key(0), got {got}.")


def per_gate(
    init: ArrayInit,
    key: Key[Array, ""],
    rows: int,
    hidden_size: int,
    gates: int,
) -> Float[Array, "{rows} {gates}*{hidden_size}"]:
    """One [rows, H] matrix for each gate, side by side: [rows, G*H].

    Initializing the whole matrix at once would give every gate the wrong scale, since its fan-out
    would be counted G times, and no gate would be orthogonal.
    """
    check_key(key)
    return _per_gate(init, key, rows, hidden_size, gates)


@partial(jax.jit, static_argnames=("init", "rows", "hidden_size", "gates"))
def _per_gate(init, key, rows, hidden_size, gates):
    # One gate at a time: on CPUs, two batched QRs in one program, such as those of two cells of a
    # model, can deadlock (ParallelBatchMap in jaxlib, jax 0.10).
    blocks = jax.lax.map(
        lambda k: init(k, (rows, hidden_size), jnp.float32), jax.random.split(key, gates)
    )
    return jnp.concatenate(list(blocks), axis=1)


def orthogonal_per_gate(
    key: Key[Array, ""], hidden_size: int, gates: int
) -> Float[Array, "{hidden_size} {gates}*{hidden_size}"]:
    """Recurrent matrix [H, G*H] with an orthogonal [H, H] block for each gate."""
    return per_gate(orthogonal, key, hidden_size, hidden_size, gates)


def gate_bias(cell, params: Params, gate: str, value: Float[Array, "..."] | float) -> Params:
    """The parameters with the bias of one gate set to `value`, a scalar or an array [H].

    Raises:
      InputError: the parameters have no b, or the cell has no such gate.
    """
    require(params, "b")
    gates = gate_names(cell)
    if gate not in gates:
        raise InputError(f"{type(cell).__name__} has no gate {gate!r}; its gates are {gates}.")
    start = gates.index(gate) * cell.hidden_size
    return params._replace(b=params.b.at[start : start + cell.hidden_size].set(value))


def gate_names(cell) -> tuple[str, ...]:
    """The gates of a cell; InputError if it has none."""
    if not hasattr(cell, "gates"):
        raise InputError(
            f"this initializer sets parameters gate by gate and {type(cell).__name__} has no "
            "`gates`; choose another initializer for this cell."
        )
    return cell.gates


def require(params: Params, field: str) -> None:
    """Raise InputError unless the parameters of a cell have this field."""
    if getattr(params, field, None) is None:
        raise InputError(
            f"this initializer sets {field}, which {type(params).__name__} does not have; "
            "choose another initializer for this cell."
        )
