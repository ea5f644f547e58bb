"""Initializers that know about gates."""

import jax
import jax.numpy as jnp
from jax.nn import initializers

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Key, Params


def check_key(key: object) -> None:
    """Raise InputError unless `key` is one random key, of the new or the old kind."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    new = dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)
    if not ((new and shape == ()) or (dtype == "uint32" and shape == (2,))):
        got = f"{dtype}{list(shape)}" if dtype is not None else repr(key)
        raise InputError(f"key must be one key, as jax.random.key(0), got {got}.")


def per_gate(
    init: initializers.Initializer,
    key: Key[Array, ""],
    rows: int,
    hidden_size: int,
    gates: int,
) -> Float[Array, "{rows} {gates}*{hidden_size}"]:
    """Draw one [rows, H] matrix for each gate and lay them side by side: [rows, G*H].

    Drawing the fused matrix at once would give every gate the wrong scale (its fan-out is counted
    G times) and make no gate orthogonal.
    """
    check_key(key)
    draw = jax.vmap(lambda k: init(k, (rows, hidden_size), jnp.float32))
    return jnp.concatenate(list(draw(jax.random.split(key, gates))), axis=1)


def orthogonal_per_gate(
    key: Key[Array, ""], hidden_size: int, gates: int
) -> Float[Array, "{hidden_size} {gates}*{hidden_size}"]:
    """Recurrent matrix [H, G*H], each gate's [H, H] block orthogonal.

    Reference: Saxe, McClelland, Ganguli (2014), "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks".
    """
    return per_gate(initializers.orthogonal(), key, hidden_size, hidden_size, gates)


def identity_recurrence(cell, params: Params) -> Params:
    """The same params, each gate's block of the recurrent matrix the identity (IRNN).

    With relu and small input weights a simple RNN then starts as a sum of its inputs; what is not
    w_h stays as it was.

    Raises:
      InputError: params without w_h.
    Reference: Le, Jaitly, Hinton (2015), "A simple way to initialize recurrent networks of
    rectified linear units".
    """
    _require(params, "w_h")
    eye = jnp.tile(jnp.eye(cell.hidden_size, dtype=params.w_h.dtype), len(cell.gates))
    return params._replace(w_h=eye)


def orthogonal_recurrence(cell, params: Params, key: Key[Array, ""]) -> Params:
    """The same params, each gate's block of the recurrent matrix drawn anew and orthogonal.

    Raises:
      InputError: params without w_h.
    """
    _require(params, "w_h")
    w_h = orthogonal_per_gate(key, cell.hidden_size, len(cell.gates))
    return params._replace(w_h=w_h.astype(params.w_h.dtype))


def scaled_recurrence(params: Params, gain: float) -> Params:
    """The same params, the recurrent matrix multiplied by `gain`.

    Raises:
      InputError: params without w_h.
    """
    _require(params, "w_h")
    return params._replace(w_h=gain * params.w_h)


def chrono_biases(
    cell, params: Params, key: Key[Array, ""], *, longest: int, keep: str, write: str | None = None
) -> Params:
    """The same params, gate biases set for memories of 1 to `longest` steps, unit by unit.

        b_keep = log u,  u uniform in 1 to longest - 1        b_write = -b_keep

    Args:
      cell: the `GatedCell` of the params.
      params: biases b [G*H] and whatever else the cell has.
      key: what u is drawn from.
      longest: steps of the longest dependency, 3 or more.
      keep: the gate that multiplies the past: "f" of an LSTM, "z" of a GRU here.
      write: the gate that multiplies what is new, where that is another one: "i" of an LSTM.

    Raises:
      InputError: params without b, a gate that the cell does not have, too short a `longest`.
    Reference: Tallec, Ollivier (2018), "Can recurrent neural networks warp time?".
    """
    _require(params, "b")
    check_key(key)
    if not longest >= 3:
        raise InputError(f"longest must be at least 3 steps, got {longest}.")
    bias = jnp.log(jax.random.uniform(key, (cell.hidden_size,), minval=1.0, maxval=longest - 1.0))
    b = params.b
    for gate, value in ((keep, bias), (write, -bias)):
        if gate is None:
            continue
        if gate not in cell.gates:
            raise InputError(
                f"{gate!r} is no gate of {type(cell).__name__}; its gates are {cell.gates}."
            )
        start = cell.gates.index(gate) * cell.hidden_size
        b = b.at[start : start + cell.hidden_size].set(value.astype(b.dtype))
    return params._replace(b=b)


def initialize(cell, key: Key[Array, ""], input_size: int, init: str = "default") -> Params:
    """Parameters of a cell, drawn as `cell.init` does, or with `chrono_biases` by "chrono=T".

    Raises:
      InputError: another `init`, or one that does not suit the cell.
    """
    params = cell.init(key, input_size)
    if init == "default":
        return params
    name, _, number = init.partition("=")
    if name != "chrono" or not number.isdigit():
        raise InputError(f"init must be default or chrono=T, e.g. chrono=200; got {init!r}.")
    keep, write = ("f", "i") if "f" in cell.gates else ("z", None)
    key = jax.random.fold_in(key, 1)
    return chrono_biases(cell, params, key, longest=int(number), keep=keep, write=write)


def _require(params, field):
    if not hasattr(params, field):
        raise InputError(
            f"this initializer sets {field}, which {type(params).__name__} does not have; "
            "choose another for this cell."
        )
