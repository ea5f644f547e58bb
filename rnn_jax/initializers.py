"""Initializers that know about gates, and `initialize`, which names them all in one argument."""

import contextlib
import numbers
from functools import partial

import jax
import jax.numpy as jnp
from jax.nn import initializers

from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Key, Params

LECUN_NORMAL, ORTHOGONAL = initializers.lecun_normal(), initializers.orthogonal()
"""Made once: an initializer is static under `jax.jit`, and another object compiles again."""
LARGEST = 3.4e38
"""Numbers below this one are finite in float32."""


def check_key(key: object) -> None:
    """Raise InputError unless `key` is one random key, of the new or the old kind."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    new = dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)
    old = dtype == "uint32" and shape in ((2,), (4,))  # 4 words of the rbg generators.
    if not ((new and shape == ()) or old):
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
    return _per_gate(init, key, rows, hidden_size, gates)


@partial(jax.jit, static_argnames=("init", "rows", "hidden_size", "gates"))
def _per_gate(init, key, rows, hidden_size, gates):
    # One after the other: on CPUs two batched QRs in one program, of the cells of a model, can wait
    # for each other for ever (jaxlib's ParallelBatchMap, jax 0.10).
    drawn = jax.lax.map(
        lambda k: init(k, (rows, hidden_size), jnp.float32), jax.random.split(key, gates)
    )
    return jnp.concatenate(list(drawn), axis=1)


def orthogonal_per_gate(
    key: Key[Array, ""], hidden_size: int, gates: int
) -> Float[Array, "{hidden_size} {gates}*{hidden_size}"]:
    """Recurrent matrix [H, G*H], each gate's [H, H] block orthogonal.

    Reference: Saxe, McClelland, Ganguli (2014), "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks".
    """
    return per_gate(ORTHOGONAL, key, hidden_size, hidden_size, gates)


def identity_recurrence(cell, params: Params) -> Params:
    """The same params, each gate's block of the recurrent matrix the identity (IRNN).

    With relu and small input weights a simple RNN then starts as a sum of its inputs; what is not
    w_h stays as it was.

    Raises:
      InputError: params without w_h.
    Reference: Le, Jaitly, Hinton (2015), "A simple way to initialize recurrent networks of
    rectified linear units".
    """
    require(params, "w_h")
    eye = jnp.tile(jnp.eye(cell.hidden_size, dtype=params.w_h.dtype), len(_gates(cell)))
    return _with_recurrence(cell, params, eye)


def orthogonal_recurrence(cell, params: Params, key: Key[Array, ""]) -> Params:
    """The same params, each gate's block of the recurrent matrix drawn anew and orthogonal.

    Raises:
      InputError: params without w_h.
    """
    require(params, "w_h")
    w_h = orthogonal_per_gate(key, cell.hidden_size, len(_gates(cell)))
    return _with_recurrence(cell, params, w_h.astype(params.w_h.dtype))


def _with_recurrence(cell, params, w_h):
    if params.w_h.shape != w_h.shape:
        raise InputError(
            f"this initializer makes w_h of shape {w_h.shape}, {type(cell).__name__} has one of "
            f"shape {params.w_h.shape}; choose another for this cell."
        )
    return params._replace(w_h=w_h)


def scaled_recurrence(params: Params, gain: float) -> Params:
    """The same params, the recurrent matrix multiplied by `gain`.

    Raises:
      InputError: params without w_h.
    """
    require(params, "w_h")
    if isinstance(gain, numbers.Real) and not -LARGEST < gain < LARGEST:
        raise InputError(f"gain must be finite in float32, got {gain!r}.")
    return params._replace(w_h=gain * params.w_h)


def gate_bias(cell, params: Params, gate: str, value: Float[Array, "..."] | float) -> Params:
    """The same params, the biases of one gate set to `value`, a number or [H].

    Raises:
      InputError: params without b, a gate that the cell does not have.
    """
    require(params, "b")
    gates = _gates(cell)
    if gate not in gates:
        raise InputError(f"{gate!r} is no gate of {type(cell).__name__}; its gates are {gates}.")
    start = gates.index(gate) * cell.hidden_size
    return params._replace(b=params.b.at[start : start + cell.hidden_size].set(value))


def chrono_biases(cell, params: Params, key: Key[Array, ""], *, longest: float) -> Params:
    """The same params, gate biases set for memories of 1 to `longest` steps, unit by unit.

        b_keep = log u,  u uniform in 1 to longest - 1        b_write = -b_keep

    keep and write are `cell.keep_gate` and, where it has one of its own, `cell.write_gate`.

    Args:
      cell: the `GatedCell` of the params.
      params: biases b [G*H] and whatever else the cell has.
      key: what u is drawn from.
      longest: steps of the longest dependency, 3 or more.

    Raises:
      InputError: params without b, a cell that says of no gate that it keeps or writes, too short
        a `longest`.
    Reference: Tallec, Ollivier (2018), "Can recurrent neural networks warp time?".
    """
    require(params, "b")
    check_key(key)
    if not 3 <= longest < LARGEST:
        raise InputError(f"longest must be finite and at least 3 steps, got {longest}.")
    _require_memory(cell, cell.keep_gate or cell.write_gate, "chrono")
    bias = jnp.log(jax.random.uniform(key, (cell.hidden_size,), minval=1.0, maxval=longest - 1.0))
    if cell.keep_gate:
        params = gate_bias(cell, params, cell.keep_gate, bias)
    return gate_bias(cell, params, cell.write_gate, -bias) if cell.write_gate else params


def uniform_parameters(params: Params, key: Key[Array, ""], bound: float) -> Params:
    """Every parameter drawn anew, uniform in -bound to bound: PyTorch's way, bound 1/sqrt(H).

    Raises:
      InputError: params without w_h, of a cell whose parameters mean something else.
    """
    require(params, "w_h")
    check_key(key)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        jax.random.uniform(k, leaf.shape, leaf.dtype, -bound, bound)
        for k, leaf in zip(keys, leaves, strict=True)
    )


INIT = 2**31
"""What an init draws is apart from all that `cell.init` splits off its key."""
INITS = ("default", "orthogonal", "identity", "uniform", "chrono=T", "gain=G", "forget=B")
"""What `initialize` knows; T, G and B stand for numbers."""


def initialize(cell, key: Key[Array, ""], input_size: int, init: str = "default") -> Params:
    """Parameters of a cell, drawn in one of these ways:

    default: as `cell.init`. orthogonal, identity: `orthogonal_recurrence`, `identity_recurrence`.
    uniform: as PyTorch. chrono=T: `chrono_biases` for memories of up to T steps. gain=G: the
    recurrent matrix times G. forget=B: the bias of the gate that keeps the past.

    Raises:
      InputError: another `init`, or one that does not suit the cell.
    """
    name, value = parse_init(init)
    if name == "default":
        return cell.init(key, input_size)
    params, key_init = cell.init(key, input_size), jax.random.fold_in(key, INIT)
    match name:
        case "orthogonal":
            return orthogonal_recurrence(cell, params, key_init)
        case "identity":
            return identity_recurrence(cell, params)
        case "uniform":
            return uniform_parameters(params, key_init, cell.hidden_size**-0.5)
        case "chrono":
            return chrono_biases(cell, params, key_init, longest=value)
        case "gain":
            return scaled_recurrence(params, value)
    return gate_bias(cell, params, _require_memory(cell, cell.keep_gate, init), value)


def parse_init(init: str) -> tuple[str, float | None]:
    """The name and the number of an `init`; InputError unless it is one of `INITS`."""
    name, equals, number = str(init).partition("=")
    if init in INITS and not equals:
        return name, None
    if f"{name}=" in {known[: known.find("=") + 1] for known in INITS}:
        with contextlib.suppress(ValueError):
            number = float(number)
        if isinstance(number, float):
            if not -LARGEST < number < LARGEST:
                raise InputError(f"the number of init must be finite in float32, got {init!r}.")
            return name, number
    raise InputError(
        f"init must be one of {', '.join(INITS)} with numbers for T, G and B, e.g. gain=0.9; "
        f"got {init!r}."
    )


def _require_memory(cell, gate, name):
    if not gate:
        raise InputError(
            f"{name} sets the bias of the gate that keeps the past, and {type(cell).__name__} "
            "names none; choose another for this cell."
        )
    return gate


def _gates(cell):
    if not hasattr(cell, "gates"):
        raise InputError(
            f"this initializer sets parameters gate by gate and {type(cell).__name__} has no "
            "`gates`; choose another for this cell."
        )
    return cell.gates


def require(params: Params, field: str) -> None:
    """Raise InputError unless the parameters of a cell have this field."""
    if getattr(params, field, None) is None:
        raise InputError(
            f"this initializer sets {field}, which {type(params).__name__} does not have; "
            "choose another for this cell."
        )
