"""Flax NNX layers over any cell: one, both ways in time, one upon another."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rnn_jax.analysis.recording import gate_activations
from rnn_jax.cells.base import Cell
from rnn_jax.cells.checks import check_memory, require_cell
from rnn_jax.drivers.arguments import cleared
from rnn_jax.drivers.unroll import DriverLike, check_driver, unroll
from rnn_jax.errors import InputError, check_size
from rnn_jax.initializers import Default, Initializer, check_initializer
from rnn_jax.layers.checks import as_layers, check_rngs, floating_dtype
from rnn_jax.typing import Array, Carry, Float, Key, Params
from rnn_jax.wrappers.dropout import check_rates, dropout_mask


class RNN(nnx.Module):
    """A cell with its parameters, run over time.

    Attributes:
      cell: the cell, static.
      params: the cell's parameters, each leaf an `nnx.Param`: `rnn.params.w_h[...]`.
      input_size, output_size: D and O, the widths of what goes in and comes out.

    Args:
      cell: any `Cell`.
      input_size: D, the number of input features.
      init: the initializer of the parameters, e.g. `initializers.Orthogonal()`.
      dtype: the dtype that matrix products are computed in, e.g. `jnp.bfloat16`; by default the
        parameters' own. Only the matrices are cast, see `Cell.cast_matrices`: all other parameters,
        the sums and the carry stay float32.
      driver: how the scan is run, see `unroll`.
      rngs: the source of the parameters' key, e.g. `nnx.Rngs(0)`.

    Raises:
      InputError: an argument of another kind; parameters larger than the memory.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        init: Initializer = Default(),
        dtype=None,
        driver: DriverLike = "auto",
        rngs: nnx.Rngs,
    ):
        require_cell(type(self).__name__, cell)
        check_size("input_size", input_size)
        check_initializer(init)
        check_driver(driver)
        check_rngs(rngs)
        check_memory(cell, input_size)
        self.cell = cell
        self.dtype = floating_dtype(dtype)
        self.driver = driver
        self.input_size, self.output_size = input_size, cell.output_size
        params = init(cell, rngs.params(), input_size)
        self.params = nnx.data(jax.tree.map(nnx.Param, params))

    def weights(self) -> Params:
        """The parameters as plain arrays, the matrices in `dtype`."""
        params = jax.tree.map(
            lambda leaf: leaf[...], self.params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable)
        )
        return params if self.dtype is None else self.cell.cast_matrices(params, self.dtype)

    def __call__(
        self, xs: Float[Array, "T ... D"], carry: Carry | None = None, **options
    ) -> tuple[Carry, Float[Array, "T ... O"]]:
        """Final carry and outputs [T, ..., O] for xs [T, ..., D]; `options` are those of `unroll`:
        lengths, mask, resets, reverse, key, tbptt_steps, driver.
        """
        options = {"driver": self.driver} | options
        return unroll(self.cell, self.weights(), xs, carry, **options)

    def step(
        self, x: Float[Array, "... D"], carry: Carry | None = None
    ) -> tuple[Carry, Float[Array, "... O"]]:
        """One step, for inputs that arrive one by one: many of them equal the whole."""
        carry, ys = self(jnp.asarray(x)[None], carry, driver="scan")
        return carry, ys[0]

    def gates(
        self, xs: Float[Array, "T ... D"], carry: Carry | None = None, **options
    ) -> dict[str, Float[Array, "T ... H"]]:
        """The gates' values [T, ..., H] over time, by name; see `gate_activations`."""
        return gate_activations(self.cell, self.weights(), xs, carry, **options)


class BothCarries(NamedTuple):
    """The carries of a bidirectional layer."""

    forward: Carry
    backward: Carry


def _both_carries(carry):
    if isinstance(carry, BothCarries) or (type(carry) in (tuple, list) and len(carry) == 2):
        return carry
    raise InputError(
        "carry of Bidirectional must be BothCarries(forward, backward), got "
        f"a {type(carry).__name__}."
    )


class Bidirectional(nnx.Module):
    """Two cells, one forward and one backward in time, each with parameters of its own.

    Args:
      cell, input_size, options: as in `RNN`.
      merge: "concat" puts the outputs side by side, [T, ..., 2 O]; "sum" adds them.

    Reference: Schuster, Paliwal (1997), "Bidirectional recurrent neural networks".
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        merge: Literal["concat", "sum"] = "concat",
        rngs: nnx.Rngs,
        **options,
    ):
        if merge not in ("concat", "sum"):
            raise InputError(f"merge must be 'concat' or 'sum', got {merge!r}.")
        require_cell(type(self).__name__, cell)
        self.merge = merge
        self.forward = RNN(cell, input_size, rngs=rngs, **options)
        self.backward = RNN(cell, input_size, rngs=rngs, **options)
        self.input_size = input_size
        self.output_size = cell.output_size * (2 if merge == "concat" else 1)

    def __call__(
        self,
        xs: Float[Array, "T ... D"],
        carry: BothCarries | None = None,
        *,
        key: Key[Array, ""] | None = None,
        **options,
    ) -> tuple[BothCarries, Float[Array, "T ... O"]]:
        """Both final carries, and the outputs at each step of what is read up to it either way.

        The backward carry is that of the first step. `options` are those of `unroll`; with lengths
        each sequence is read backward from its own end.
        """
        if options.pop("reverse", False):
            raise InputError(
                "Bidirectional reads both ways and takes no reverse=True; leave it out, or use RNN "
                "to read backward only."
            )
        first, second = (None, None) if carry is None else _both_carries(carry)
        keys = (None, None) if key is None else jax.random.split(key)
        ahead, ys = self.forward(xs, first, key=keys[0], **options)
        back, back_ys = self.backward(xs, second, key=keys[1], reverse=True, **options)
        both = jnp.concatenate([ys, back_ys], -1) if self.merge == "concat" else ys + back_ys
        return BothCarries(ahead, back), both


class Stacked(nnx.Module):
    """Layers one upon another, of any cells: each reads the outputs of the one before.

    Args:
      layers: `RNN`, `Bidirectional` or `Stacked` layers whose widths fit.
      residual: add what goes into a layer to what comes out, where both are equally wide.
      dropout: how much of what goes from layer to layer is dropped, 0 to 1, in a run with a key:
        the same units at every step.

    Raises:
      InputError: no layers, widths that do not fit, a dropout that is no probability.
    """

    def __init__(self, layers: Sequence[Any], *, residual: bool = False, dropout: float = 0.0):
        layers = as_layers(layers)
        for n, (below, above) in enumerate(pairwise(layers)):
            if above.input_size != below.output_size:
                raise InputError(
                    f"layers[{n + 1}] takes {above.input_size} features and layers[{n}] gives "
                    f"{below.output_size}; make them equal."
                )
        check_rates(dropout=dropout)
        self.layers = nnx.List(layers)
        self.residual, self.dropout = residual, dropout
        self.input_size, self.output_size = layers[0].input_size, layers[-1].output_size

    def __call__(
        self,
        xs: Float[Array, "T ... D"],
        carry: Sequence[Carry] | None = None,
        *,
        key: Key[Array, ""] | None = None,
        **options,
    ) -> tuple[tuple[Carry, ...], Float[Array, "T ... O"]]:
        """The final carry of each layer, and the outputs of the last; `options` as in `unroll`."""
        if carry is not None and type(carry) not in (tuple, list):
            raise InputError(
                f"carry of Stacked must be a tuple of {len(self.layers)} carries, one for each "
                f"layer, got a {type(carry).__name__}."
            )
        if carry is not None and len(carry) != len(self.layers):
            raise InputError(f"carry must hold {len(self.layers)} carries, got {len(carry)}.")
        if self.residual:
            xs = cleared(xs, options.get("lengths"), options.get("mask"))
        carries, keys = [], [(None, None)] * len(self.layers)
        if key is not None:
            keys = jax.random.split(key, (len(self.layers), 2))
        for n, layer in enumerate(self.layers):
            own_key, drop_key = keys[n]
            if n and self.dropout and key is not None:
                xs = xs * dropout_mask(drop_key, self.dropout, xs.shape[1:], xs.dtype)
            last, ys = layer(xs, None if carry is None else carry[n], key=own_key, **options)
            carries.append(last)
            xs = ys + xs if self.residual and ys.shape == xs.shape else ys
        return tuple(carries), xs
