"""Claims about a cell that runs, under any driver."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.drivers.unroll import unroll
from rnn_jax.numerics import named
from rnn_jax.testing.case import Claims, as_type, assert_types, made_anew, told, zeros_like
from rnn_jax.testing.oracle import (
    DRIVERS,
    T,
    assert_close,
    assert_same,
    compilations,
    ensure,
    inner,
    loop,
    loop_back,
)

CLAIMS = Claims()

FEW = 4
"""T of a run that only has to be there: whole chunks, so that no shorter one is compiled."""


@CLAIMS.add
def values_and_gradients_are_those_of_a_python_loop(case):
    """`step` is the definition; `project`, `mix`, `update`, `readout` make the same step."""
    given = case.problem()
    assert_close(told(*case.back(*given)), told(*loop_back(case.cell, *given)))


@CLAIMS.add
def values_and_gradients_of_two_halves_are_those_of_the_whole(case):
    """All that a step remembers is in the carry."""
    params, xs, carry, (d_last, d_ys) = case.problem(steps=2 * T)
    whole = loop_back(case.cell, params, xs, carry, (d_last, d_ys))
    half = partial(case.back, params)
    (middle, head), _ = half(xs[:T], carry, (d_last, d_ys[:T]))
    (last, tail), (d_params, d_tail, d_middle) = half(xs[T:], middle, (d_last, d_ys[T:]))
    _, (d_head_params, d_head, d_carry) = half(xs[:T], carry, (d_middle, d_ys[:T]))
    d_params = jax.tree.map(np.add, d_params, d_head_params)
    values = last, np.concatenate([head, tail])
    gradients = d_params, np.concatenate([d_head, d_tail]), d_carry
    assert_close(told(values, gradients), told(*whole))


@CLAIMS.add
def streaming_step_by_step_gives_the_whole(case):
    """All that a step remembers is in the carry, also when steps come one at a time."""
    params, xs, carry, cotangents = case.problem()
    whole, _ = case.back(params, xs, carry, cotangents)
    ys = np.zeros_like(whole[1])
    for t in range(T):
        carry, ys[t : t + 1] = case.run(params, xs[t : t + 1], carry)
    assert_close(told((carry, ys)), told(whole))


@CLAIMS.add
def outputs_before_t_do_not_see_inputs_from_t_on(case):
    """A step sees its own input and the carry; `readout` sees many steps at once and mixes none."""
    params, xs, carry, cotangents = case.problem()
    (_, ys), _ = case.back(params, xs, carry, cotangents)
    for t in range(T):
        later = np.concatenate([xs[:t], xs[t:] + 1])
        (_, changed), _ = case.back(params, later, carry, cotangents)
        assert_same({f"ys before t = {t}": changed[:t]}, {f"ys before t = {t}": ys[:t]})
        ensure(t or np.any(changed != ys), "no output sees any input")


@CLAIMS.add
def the_gradient_of_y_t_by_later_inputs_is_exactly_zero(case):
    """A step sees its own input and the carry; `readout` sees many steps at once and mixes none."""
    params, xs, carry, (d_last, d_ys) = case.problem()
    for t in range(T):
        only_t = np.where(np.arange(T).reshape(T, *(1,) * (d_ys.ndim - 1)) == t, d_ys, 0)
        _, (_, d_xs, _) = case.back(params, xs, carry, (zeros_like(d_last), only_t))
        later = {f"the gradient of y at t = {t}": d_xs[t + 1 :]}
        assert_same(later, zeros_like(later))
        ensure(t < T - 1 or np.any(d_xs), "the gradient by earlier inputs is zero too")


@CLAIMS.add
def gradients_agree_with_finite_differences(case):
    """The gradient of each part is that of its values: look for `stop_gradient` or a custom one."""
    given, distance = case.problem(), 1e-5
    point = given._replace(cotangents=None)
    leaves, tree = jax.tree.flatten(point)
    directions = jax.tree.leaves(case.problem(seed=1)._replace(cotangents=None))
    gradients = jax.tree.leaves(case.back(*given)[1])

    def height(k, distance):
        moved = [*leaves[:k], leaves[k] + distance * directions[k], *leaves[k + 1 :]]
        values, _ = case.back(*tree.unflatten(moved)[:3], given.cotangents)
        return inner(values, given.cotangents)

    got, want = {}, {}
    for k, name in enumerate(named(point)):
        got[f"the slope by {name}"] = np.vdot(gradients[k], directions[k])
        rise = height(k, distance) - height(k, -distance)
        want[f"the slope by {name}"] = rise / (2 * distance)
    assert_close(got, want, 1e-7)


@CLAIMS.add
def an_equal_cell_and_new_values_compile_nothing(case):
    """Fields are compared by value, and nothing outside the cell changes what it does."""
    first, second = case.problem(), case.problem(seed=1)
    twin = case._replace(cell=made_anew(case.cell))
    case.back(*first)
    with compilations() as seen:
        twin.back(*second)
    ensure(not seen, f"{len(seen)} compilations")


@CLAIMS.add
def bfloat16_weights_give_float32_values_close_to_the_exact_ones(case):
    """Multiply with `rnn_jax.cells.array_ops.dot`; name the dtype of every constant."""
    params, xs, carry, _ = case.problem(steps=FEW)
    narrow = as_type(jnp.bfloat16, params)
    exact = loop(case.cell, as_type(np.float64, narrow), xs, carry)
    got = case.run(narrow, *as_type(np.float32, (xs, carry)))
    assert_types(jnp.float32, got, "the result")
    assert_close(told(got), told(exact), 0.05)


@CLAIMS.add
def bfloat16_throughout_still_carries_float32(case):
    """`rnn_jax.cells.array_ops.dot` sums in float32 or wider; a carry keeps its dtype."""
    params, xs, carry, _ = case.problem(dtype=jnp.bfloat16)
    unrolled = partial(unroll, case.cell, driver=DRIVERS[case.driver])
    assert_types(jnp.float32, jax.eval_shape(unrolled, params, xs, carry), "the result")


@CLAIMS.add
def no_steps_return_the_carry_given_and_no_gradient(case):
    """xs [0, B, D] is a sequence like any other."""
    params, xs, carry, (d_carry, d_ys) = case.problem(steps=0)
    got = case.back(params, xs, carry, (d_carry, d_ys))
    assert_same(told(*got), told((carry, d_ys), (zeros_like(params), xs, d_carry)))


@CLAIMS.add
def an_empty_batch_returns_an_empty_batch_and_no_gradient(case):
    """xs [T, 0, D] is a batch like any other."""
    params, xs, carry, (d_carry, d_ys) = case.problem(batch=(0,))
    got = case.back(params, xs, carry, (d_carry, d_ys))
    assert_same(told(*got), told((carry, d_ys), (zeros_like(params), xs, carry)))


@CLAIMS.add
def a_sequence_runs_alone_as_in_a_batch(case):
    """No example of a batch sees another one; sizes are counted from the last axis."""
    params, xs, carry, _ = case.problem(steps=FEW)
    last, ys = loop(case.cell, params, xs, carry)
    carry, last = jax.tree.map(lambda h: h[0], (carry, last))
    assert_close(told(case.run(params, xs[:, 0], carry)), told((last, ys[:, 0])))


@CLAIMS.add
def several_batch_dimensions_run_as_one(case):
    """Write `...` for the batch: concatenate and split along axis -1."""
    params, xs, carry, _ = case.problem(steps=FEW)
    last, ys = loop(case.cell, params, xs, carry)
    carry, last = jax.tree.map(lambda h: h.reshape(2, 2, *h.shape[1:]), (carry, last))
    xs, ys = (seq.reshape(FEW, 2, 2, *seq.shape[2:]) for seq in (xs, ys))
    assert_close(told(case.run(params, xs, carry)), told((last, ys)))
