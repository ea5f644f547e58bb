"""Checks of a cell as a value: parameters, initial carry, equality and hashing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.cells.base import GatedCell
from rnn_jax.numerics import named
from rnn_jax.testing.case import Checks, assert_named_tuple, assert_types, rebuilt
from rnn_jax.testing.oracle import B, compilations, ensure, places

CHECKS = Checks()


@CHECKS.add
def params_are_a_named_tuple(case):
    """Return a NamedTuple with an array in each field from `init`."""
    params = jax.eval_shape(lambda: case.cell.init(jax.random.key(0), case.features))
    assert_named_tuple(params, "the result of init")
    size = case.cell.input_size(params)
    ensure(size in (None, case.features), f"input_size is {size}, expected {case.features}")


@CHECKS.add
def params_are_float32_even_with_x64_enabled(case):
    """Give the dtype explicitly: `jnp.zeros(n, jnp.float32)`."""
    params = jax.eval_shape(lambda: case.cell.init(jax.random.key(0), case.features))
    assert_types(jnp.float32, params, "the result of init")


@CHECKS.add
def the_initial_carry_is_a_named_tuple_of_vectors_with_h_units_first(case):
    """Make fields [*batch_shape, H], then [*batch_shape, N], in the dtype of `initial_carry`."""
    carry, size = jax.eval_shape(case.cell.initial_carry), case.cell.hidden_size
    assert_named_tuple(carry, "the initial carry")
    widths = [leaf.shape[-1] for leaf in carry]
    ensure(widths[0] == size, f"the first field has {widths[0]} units, not H = {size}")
    for batch in (), (B,), (2, 0, 3):
        for dtype in jnp.bfloat16, jnp.float32, jnp.float64:
            shape = (*batch, *places(case.cell))
            carry = jax.eval_shape(partial(case.cell.initial_carry, shape, dtype))
            assert_named_tuple(carry, "the initial carry")
            assert_types(dtype, carry, "the initial carry")
            got, want = [leaf.shape for leaf in carry], [(*shape, width) for width in widths]
            ensure(got == want, f"fields of shapes {got}, expected {want}")


@CHECKS.add
def a_cell_is_frozen_and_hashable(case):
    """Use `@dataclasses.dataclass(frozen=True)` with fields that compare by value."""
    twin = rebuilt(case.cell)
    ensure(twin == case.cell, "a cell with equal fields is not equal")
    ensure(hash(twin) == hash(case.cell), "an equal cell has a different hash")
    try:
        twin.hidden_size = case.cell.hidden_size
    except AttributeError:
        return
    raise AssertionError("a field can be assigned")


@CHECKS.add
def no_two_arrays_share_a_buffer(case):
    """Make a new array for every field in every call, so that buffers can be donated."""
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


@CHECKS.add
def a_second_init_does_not_recompile(case):
    """Do not define jitted functions or loop bodies inside `init`; each new one is compiled."""
    keys = [jax.random.key(seed) for seed in range(2)]
    case.cell.init(keys[0], case.features)
    with compilations() as seen:
        rebuilt(case.cell).init(keys[1], case.features)
    ensure(not seen, f"{len(seen)} compilations")


@CHECKS.add
def a_declared_diagonal_jacobian_is_diagonal(case):
    """Set `diagonal_jacobian` only if each entry of the carry sees no other one."""
    cell = case.cell
    if not cell.diagonal_jacobian:
        return
    params, xs, carry, _ = case.problem()
    step = jax.jit(jax.jacfwd(lambda carry, params, x: cell.step(params, carry, x)[0]))
    jacobian = step(carry, params, xs[0])
    for name, row in zip(carry._fields, jacobian, strict=True):
        for other, block in zip(carry._fields, row, strict=True):
            inside = 0
            if name == other:
                inside = np.eye(np.prod(block.shape[: block.ndim // 2])).reshape(block.shape)
            ensure(not np.any(np.where(inside, 0, block)), f"{name} depends on others of {other}")


@CHECKS.add
def update_is_elementwise_over_units(case):
    """Move the part that combines units into `mix`, or set `elementwise_update = False`."""
    cell = case.cell
    if not isinstance(cell, GatedCell) or cell.spatial_axes or not cell.elementwise_update:
        return
    unit_0 = np.arange(cell.hidden_size) == 0

    def along_unit_0(value):
        return jnp.tile(unit_0, value.shape[-1] // len(unit_0)) * jnp.ones_like(value)

    widths = [leaf.shape[-1] for leaf in jax.eval_shape(cell.initial_carry)]
    found = " and ".join(map(str, widths))
    ensure({*widths} == {cell.hidden_size}, f"the carry has fields of {found} units, not all of H")

    @jax.jit
    def moved(params, x, carry):
        given = carry, cell.mix(params, carry)
        update = partial(cell.update, params, x_gates=cell.project(params, x))
        tangents = jax.tree.map(along_unit_0, given)
        return jax.jvp(lambda carry, h: update(carry, h_gates=h), given, tangents)[1]

    params, xs, carry, _ = case.problem()
    change = moved(params, xs[0], carry)
    for name, field in zip(change._fields, change, strict=True):
        ensure(not np.any(field[..., 1:]), f"unit 0 changes other units of {name}")
