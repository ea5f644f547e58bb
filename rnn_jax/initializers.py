"""Initializers of a cell's parameters: hashable objects that act gate by gate.

    RNN(LSTMCell(64), 28, init=Chrono(longest=100), rngs=rngs)

Command lines and saved runs refer to them by text, which `parse_init` parses.
"""

import dataclasses
import numbers

import jax
import jax.numpy as jnp

from rnn_jax.cells.base import Cell
from rnn_jax.cells.gate_params import (
    check_key,
    gate_bias,
    gate_names,
    orthogonal_per_gate,
    require,
)
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Key, Params

LARGEST = 3.4e38
"""Numbers of smaller magnitude are finite in float32."""
ADJUST = 2**31
"""Folded into the key of `Initializer.adjust`, to draw other random numbers than `cell.init`."""


@dataclasses.dataclass(frozen=True)
class Initializer:
    """An initializer of a cell's parameters: `initializer(cell, key, input_size) -> params`.

    A subclass overrides `adjust`. It is hashable, so that it can be static under `jax.jit`.
    """

    def __call__(self, cell: Cell, key: Key[Array, ""], input_size: int) -> Params:
        """The parameters of `cell.init`, adjusted.

        Raises:
          InputError: the initializer does not suit the cell.
        """
        return self.adjust(cell, cell.init(key, input_size), jax.random.fold_in(key, ADJUST))

    def adjust(self, cell: Cell, params: Params, key: Key[Array, ""]) -> Params:
        """Existing parameters, with new values for the fields that this initializer sets.

        Raises:
          InputError: the initializer does not suit the cell.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Default(Initializer):
    """The parameters of `cell.init`, unchanged."""

    def adjust(self, cell, params, key):
        """The same parameters."""
        return params


@dataclasses.dataclass(frozen=True)
class Orthogonal(Initializer):
    """Orthogonal recurrent matrix, gate by gate.

    Reference: Saxe, McClelland, Ganguli (2014), "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks".
    """

    def adjust(self, cell, params, key):
        """The parameters with a new w_h."""
        require(params, "w_h")
        w_h = orthogonal_per_gate(key, cell.hidden_size, len(gate_names(cell)))
        return _with_recurrence(cell, params, w_h.astype(params.w_h.dtype))


@dataclasses.dataclass(frozen=True)
class Identity(Initializer):
    """Identity as the recurrent matrix of each gate.

    With relu and small input weights a simple RNN then starts as a sum of its inputs.

    Reference: Le, Jaitly, Hinton (2015), "A simple way to initialize recurrent networks of
    rectified linear units".
    """

    def adjust(self, cell, params, key=None):
        """The parameters with a new w_h."""
        require(params, "w_h")
        eye = jnp.tile(jnp.eye(cell.hidden_size, dtype=params.w_h.dtype), len(gate_names(cell)))
        return _with_recurrence(cell, params, eye)


@dataclasses.dataclass(frozen=True)
class Uniform(Initializer):
    """Every parameter uniform in -1/sqrt(H) to 1/sqrt(H), the default of PyTorch.

    It requires a cell with a recurrent matrix; the parameters of linear cells have other ranges.
    """

    def adjust(self, cell, params, key):
        """New parameters of the same shapes and dtypes."""
        require(params, "w_h")
        check_key(key)
        bound = cell.hidden_size**-0.5
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        return structure.unflatten(
            jax.random.uniform(k, leaf.shape, leaf.dtype, -bound, bound)
            for k, leaf in zip(keys, leaves, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Chrono(Initializer):
    """Gate biases for dependencies of 1 to `longest` steps, one length per unit.

        b_keep = log u,  u uniform in 1 to longest - 1        b_write = -b_keep

    keep and write are `cell.keep_gate` and `cell.write_gate`, where the cell has them.

    Args:
      longest: steps of the longest dependency, at least 3.

    Raises:
      InputError: `longest` is below 3 or not finite.
    Reference: Tallec, Ollivier (2018), "Can recurrent neural networks warp time?".
    """

    longest: float

    def __post_init__(self):
        _check_finite("longest", self.longest)
        if self.longest < 3:
            raise InputError(f"longest must be at least 3 steps, got {self.longest!r}.")

    def adjust(self, cell, params, key):
        """The parameters with new biases of the gates that keep and write."""
        require(params, "b")
        check_key(key)
        _memory_gate(self, cell, cell.keep_gate or cell.write_gate)
        high = self.longest - 1.0
        bias = jnp.log(jax.random.uniform(key, (cell.hidden_size,), minval=1.0, maxval=high))
        if cell.keep_gate:
            params = gate_bias(cell, params, cell.keep_gate, bias)
        return gate_bias(cell, params, cell.write_gate, -bias) if cell.write_gate else params


@dataclasses.dataclass(frozen=True)
class Gain(Initializer):
    """The recurrent matrix of `cell.init`, multiplied by `gain`.

    Raises:
      InputError: `gain` is not finite.
    """

    gain: float

    def __post_init__(self):
        _check_finite("gain", self.gain)

    def adjust(self, cell, params, key=None):
        """The parameters with w_h scaled."""
        require(params, "w_h")
        return params._replace(w_h=self.gain * params.w_h)


@dataclasses.dataclass(frozen=True)
class ForgetBias(Initializer):
    """One bias for all units of the gate that keeps the past, `cell.keep_gate`.

    Raises:
      InputError: `bias` is not finite.
    """

    bias: float

    def __post_init__(self):
        _check_finite("bias", self.bias)

    def adjust(self, cell, params, key=None):
        """The parameters with a new bias of that gate."""
        return gate_bias(cell, params, _memory_gate(self, cell, cell.keep_gate), self.bias)


FORMS = {
    "default": Default,
    "orthogonal": Orthogonal,
    "identity": Identity,
    "uniform": Uniform,
    "chrono=T": Chrono,
    "gain=G": Gain,
    "forget=B": ForgetBias,
}
"""Initializers by their text forms, in which T, G and B stand for numbers."""


def parse_init(text: str) -> Initializer:
    """Parse an initializer from text such as "orthogonal" or "gain=0.9"; see `FORMS`.

    Raises:
      InputError: the text has no such form, or the initializer does not accept the number.
    """
    name, equals, number = str(text).partition("=")
    found = [kind for form, kind in FORMS.items() if form.partition("=")[:2] == (name, equals)]
    try:
        arguments = [float(number)] if equals else []
    except ValueError:
        found = []
    if not found:
        raise InputError(
            f"init must be one of {', '.join(FORMS)} with numbers for T, G and B, e.g. gain=0.9; "
            f"got {text!r}."
        )
    return found[0](*arguments)


def check_initializer(init: object) -> None:
    """Raise InputError unless `init` is an `Initializer`."""
    if not isinstance(init, Initializer):
        raise InputError(f"init must be an Initializer such as Chrono(longest=28), got {init!r}.")


def _check_finite(name, value):
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not -LARGEST < float(value) < LARGEST:
        raise InputError(f"{name} must be a number that is finite in float32, got {value!r}.")


def _memory_gate(init, cell, gate):
    if not gate:
        raise InputError(
            f"{type(init).__name__} sets the bias of the gate that keeps the past, and "
            f"{type(cell).__name__} names none; choose another initializer for this cell."
        )
    return gate


def _with_recurrence(cell, params, w_h):
    if params.w_h.shape != w_h.shape:
        raise InputError(
            f"this initializer makes w_h of shape {w_h.shape}, {type(cell).__name__} has one of "
            f"shape {params.w_h.shape}; choose another initializer for this cell."
        )
    return params._replace(w_h=w_h)
