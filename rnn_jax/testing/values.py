"""Claims about a cell as a value: what its parameters and its carry are, and what it equals."""

from functools import partial

import jax
import jax.numpy as jnp

from rnn_jax.numerics import named
from rnn_jax.testing.case import Claims, assert_named_tuple, assert_types, made_anew
from rnn_jax.testing.oracle import B, compilations, ensure, places

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


@CLAIMS.add
def no_buffer_is_handed_out_twice(case):
    """Parameters and carry can be donated: make a new array for every field, in every call."""
    cell, batch, owners = case.cell, (B, *places(case.cell)), {}
    made = [
        {"params": cell.init(jax.random.key(0), case.features), "carry": cell.initial_carry(batch)}
        for _ in range(2)
    ]
    for call in made:
        for name, leaf in named(call).items():
            if isinstance(leaf, jax.Array) and leaf.size:
                buffer = leaf.addressable_data(0).unsafe_buffer_pointer()
                ensure(buffer not in owners, f"{name} shares the buffer of {owners.get(buffer)}")
                owners[buffer] = name


@CLAIMS.add
def a_second_init_with_another_key_compiles_nothing(case):
    """Call no function that is made inside `init`: `jax.jit` and loops compile each new one."""
    keys = [jax.random.key(seed) for seed in range(2)]
    case.cell.init(keys[0], case.features)
    with compilations() as seen:
        made_anew(case.cell).init(keys[1], case.features)
    ensure(not seen, f"{len(seen)} compilations")
