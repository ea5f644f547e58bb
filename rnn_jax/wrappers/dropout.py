"""Variational dropout and DropConnect: masks are sampled once per run, not at every step."""

import dataclasses
import numbers
from typing import NamedTuple

import jax

from rnn_jax.cells.array_ops import expand
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.cells.checks import has_param, has_recurrent_product, require_cell
from rnn_jax.errors import InputError
from rnn_jax.typing import Array, Float, Key, Params
from rnn_jax.wrappers.base import (
    GatedWrapper,
    Wrapper,
    first_leaf,
    innermost,
    on_first_leaf,
    wrapper_for,
)


def dropout(cell: Cell, inputs: float = 0.0, state: float = 0.0) -> Cell:
    """Variational dropout: the same inputs and the same units of h are dropped at every step.

    Args:
      cell: any cell. `state` needs a `GatedCell`: only its `mix` uses the masked h.
      inputs: probability that an input feature is zero; the others are scaled by 1 / (1 - inputs).
      state: the same for the units of h, the first field of the carry, as inputs to the gates.

    Raises:
      InputError: a probability outside [0, 1); state dropout for a cell that is not a GatedCell or
        whose gates do not depend on h.
    Reference: Gal, Ghahramani (2016), "A theoretically grounded application of dropout in recurrent
    neural networks".
    """
    require_cell("dropout", cell)
    check_rates(inputs=inputs, state=state)
    if state and not isinstance(cell, GatedCell):
        raise InputError(
            f"state dropout needs a GatedCell, but {type(cell).__name__} is not one; "
            "use inputs only."
        )
    if state and not has_recurrent_product(cell):
        raise InputError(
            f"state dropout has no effect on {type(innermost(cell)).__name__}, whose gates do not "
            "depend on the state; use inputs only."
        )
    return wrapper_for(cell, DropoutCell, DropoutGatedCell)(cell, inputs, state)


def drop_connect(cell: Cell, rate: float) -> Cell:
    """DropConnect: the same entries of the recurrent matrix w_h are zero at every step.

    Raises:
      InputError: a rate outside [0, 1); params without w_h.
    References: Wan, Zeiler, Zhang, LeCun, Fergus (2013), "Regularization of neural networks using
    DropConnect"; Merity, Keskar, Socher (2018), "Regularizing and optimizing LSTM language models".
    """
    require_cell("drop_connect", cell)
    check_rates(rate=rate)
    if not has_param(cell, "w_h"):
        raise InputError(
            f"drop_connect needs params with w_h, but those of {type(cell).__name__} have none; "
            "apply it before layer_norm and learned_carry, to a cell with a recurrent matrix."
        )
    return wrapper_for(cell, DropConnectCell, DropConnectGatedCell)(cell, rate)


def dropout_mask(key: Key[Array, ""], rate: float, shape: tuple[int, ...], dtype) -> Array:
    """A mask of 0 with probability `rate`, otherwise 1 / (1 - rate); its mean is 1."""
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)


def check_rates(**rates: float) -> None:
    """Raise InputError, naming the rate, unless each is in [0, 1)."""
    for name, rate in rates.items():
        if not isinstance(rate, numbers.Real) or not 0 <= rate < 1:
            raise InputError(f"{name} must be at least 0 and below 1, got {rate!r}.")


class DropoutParams(NamedTuple):
    """Parameters and masks of one run."""

    inner: Params
    inputs: Float[Array, "... D"]
    state: Float[Array, "... H"]


@dataclasses.dataclass(frozen=True)
class DropoutCell(Wrapper):
    """The cell that `dropout` returns, with `DropoutParams` in a run with a key."""

    input_rate: float
    state_rate: float
    noisy = True

    def inner_params(self, params):
        """The inner cell's part of the parameters."""
        return params.inner if isinstance(params, DropoutParams) else params

    def with_inner_params(self, params, inner):
        """The same masks with `inner` as the inner parameters."""
        return params._replace(inner=inner) if isinstance(params, DropoutParams) else inner

    def sampled(self, params, xs, key):
        """Masks sampled for each example."""
        key, key_x, key_h = (None,) * 3 if key is None else jax.random.split(key, 3)
        cell, params, xs = super().sampled(params, xs, key)
        if key is None:
            return cell, params, xs
        x = first_leaf(xs)
        inputs = dropout_mask(key_x, self.input_rate, x.shape[1:], x.dtype)
        state = dropout_mask(key_h, self.state_rate, (*x.shape[1:-1], self.hidden_size), x.dtype)
        return cell, DropoutParams(params, inputs, state), xs

    def step(self, params, carry, x):
        """The inner step on the masked x."""
        return super().step(params, carry, self._masked(params, x))

    def project(self, params, xs):
        """The inner projection of the masked xs."""
        return super().project(params, self._masked(params, xs))

    def mix(self, params, carry):
        """The inner mix of the carry with h masked."""
        if isinstance(params, DropoutParams):
            carry = on_first_leaf(lambda h: h * expand(params.state, h), carry)
        return super().mix(params, carry)

    def _masked(self, params, xs):
        if not isinstance(params, DropoutParams):
            return xs
        return on_first_leaf(lambda x: x * expand(params.inputs, x), xs)


class DropoutGatedCell(DropoutCell, GatedWrapper):
    """`DropoutCell` for a gated cell."""

    step = GatedCell.step


@dataclasses.dataclass(frozen=True)
class DropConnectCell(Wrapper):
    """The cell that `drop_connect` returns."""

    rate: float
    noisy = True

    def sampled(self, params, xs, key):
        """w_h multiplied by a mask shared by the whole batch."""
        if key is None:
            return super().sampled(params, xs, key)
        key, key_w = jax.random.split(key)
        mask = dropout_mask(key_w, self.rate, params.w_h.shape, params.w_h.dtype)
        return super().sampled(params._replace(w_h=params.w_h * mask), xs, key)


class DropConnectGatedCell(DropConnectCell, GatedWrapper):
    """`DropConnectCell` for a gated cell."""

    step = GatedCell.step
