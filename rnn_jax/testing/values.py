"""Claims about a cell as a value: what its parameters and its carry are, and what it equals."""

from functools import partial

import jax
import jax.numpy as jnp

from rnn_jax.testing.case import Claims, assert_named_tuple, assert_types, made_anew
from rnn_jax.testing.oracle import B, ensure, places

CLAIMS = Claims()


@CLAIMS.add
def params_are_a_named_tuple(case):
    """`init` returns a NamedTuple with an array in each field."""
    params = jax.eval_shape(lambda: case.cell.init(jax.random.key(0), case.features))
    assert_named_tuple(params, "what init returns")
    size = case.cell.input_size(params)
    ensure(size in (None, case.features), f"input_size is {size}, expected {case.features}")


@CLAIMS.add
def params_are_float32_even_where_64_bits_are_enabled(case):
    """Name the dtype: `jnp.zeros(n, jnp.float32)`."""
    params = jax.eval_shape(lambda: case.cell.init(jax.random.key(0), case.features))
    assert_types(jnp.float32, params, "what init returns")


@CLAIMS.add
def the_initial_carry_is_a_named_tuple_with_h_units_for_each_sequence(case):
    """Every field is [*batch_shape, H] in the dtype that `initial_carry` is given."""
    for batch in (), (B,), (2, 0, 3):
        for dtype in jnp.bfloat16, jnp.float32, jnp.float64:
            shape = (*batch, *places(case.cell))
            carry = jax.eval_shape(partial(case.cell.initial_carry, shape, dtype))
            assert_named_tuple(carry, "the initial carry")
            assert_types(dtype, carry, "the initial carry")
            got, want = {leaf.shape for leaf in carry}, (*shape, case.cell.hidden_size)
            ensure(got == {want}, f"fields of shape {sorted(got)}, expected {want}")


@CLAIMS.add
def a_cell_is_a_frozen_hashable_value(case):
    """Decorate it with `@dataclasses.dataclass(frozen=True)`; fields that are compared by value."""
    twin = made_anew(case.cell)
    ensure(twin == case.cell, "a cell made anew from equal fields is not equal")
    ensure(hash(twin) == hash(case.cell), "an equal cell has another hash")
    try:
        twin.hidden_size = case.cell.hidden_size
    except AttributeError:
        return
    raise AssertionError("a field can be assigned to")
