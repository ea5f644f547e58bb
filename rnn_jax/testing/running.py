"""Checks of running a cell, under any driver."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnn_jax.drivers.unroll import unroll
from rnn_jax.numerics import named
from rnn_jax.testing.case import Checks, as_type, assert_types, named_results, rebuilt, zeros_like
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

CHECKS = Checks()

FEW = 4
"""A short T, a multiple of the chunk length so that no shorter chunk is compiled."""


@CHECKS.add
def values_and_gradients_equal_those_of_a_python_loop(case):
    """Make `project`, `mix`, `update` and `readout` compose to `step`, which is the definition."""
    given = case.problem()
    assert_close(named_results(*case.back(*given)), named_results(*loop_back(case.cell, *given)))


@CHECKS.add
def two_halves_equal_the_whole_sequence(case):
    """Keep all state in the carry."""
    params, xs, carry, (d_last, d_ys) = case.problem(steps=2 * T)
    whole = loop_back(case.cell, params, xs, carry, (d_last, d_ys))
    half = partial(case.back, params)
    (middle, head), _ = half(xs[:T], carry, (d_last, d_ys[:T]))
    (last, tail), (d_params, d_tail, d_middle) = half(xs[T:], middle, (d_last, d_ys[T:]))
    _, (d_head_params, d_head, d_carry) = half(xs[:T], carry, (d_middle, d_ys[:T]))
    d_params = jax.tree.map(np.add, d_params, d_head_params)
    values = last, np.concatenate([head, tail])
    gradients = d_params, np.concatenate([d_head, d_tail]), d_carry
    assert_close(named_results(values, gradients), named_results(*whole))


@CHECKS.add
def streaming_step_by_step_equals_the_whole_sequence(case):
    """Keep all state in the carry, also when steps run one at a time."""
    params, xs, carry, cotangents = case.problem()
    whole, _ = case.back(params, xs, carry, cotangents)
    ys = np.zeros_like(whole[1])
    for t in range(T):
        carry, ys[t : t + 1] = case.run(params, xs[t : t + 1], carry)
    assert_close(named_results((carry, ys)), named_results(whole))


@CHECKS.add
def outputs_before_t_do_not_depend_on_inputs_from_t_on(case):
    """Use the input of the step and the carry only; `readout` must not mix steps."""
    params, xs, carry, cotangents = case.problem()
    (_, ys), _ = case.back(params, xs, carry, cotangents)
    for t in range(T):
        later = np.concatenate([xs[:t], xs[t:] + 1])
        (_, changed), _ = case.back(params, later, carry, cotangents)
        assert_same({f"ys before t = {t}": changed[:t]}, {f"ys before t = {t}": ys[:t]})
        ensure(t or np.any(changed != ys), "no output depends on any input")


@CHECKS.add
def the_gradient_of_y_t_wrt_later_inputs_is_exactly_zero(case):
    """Use the input of the step and the carry only; `readout` must not mix steps."""
    params, xs, carry, (d_last, d_ys) = case.problem()
    for t in range(T):
        only_t = np.where(np.arange(T).reshape(T, *(1,) * (d_ys.ndim - 1)) == t, d_ys, 0)
        _, (_, d_xs, _) = case.back(params, xs, carry, (zeros_like(d_last), only_t))
        later = {f"the gradient of y at t = {t}": d_xs[t + 1 :]}
        assert_same(later, zeros_like(later))
        ensure(t < T - 1 or np.any(d_xs), "the gradient wrt earlier inputs is zero too")


@CHECKS.add
def gradients_agree_with_finite_differences(case):
    """Look for `stop_gradient` and for custom derivative rules."""
    given, distance = case.problem(), 1e-5
    point = given._replace(cotangents=None)
    leaves, tree = jax.tree.flatten(point)
    directions = jax.tree.leaves(case.problem(seed=1)._replace(cotangents=None))
    gradients = jax.tree.leaves(case.back(*given)[1])

    def objective(k, distance):
        moved = [*leaves[:k], leaves[k] + distance * directions[k], *leaves[k + 1 :]]
        values, _ = case.back(*tree.unflatten(moved)[:3], given.cotangents)
        return inner(values, given.cotangents)

    got, want = {}, {}
    for k, name in enumerate(named(point)):
        got[f"the slope wrt {name}"] = np.vdot(gradients[k], directions[k])
        rise = objective(k, distance) - objective(k, -distance)
        want[f"the slope wrt {name}"] = rise / (2 * distance)
    assert_close(got, want, 1e-7)


@CHECKS.add
def an_equal_cell_and_new_values_do_not_recompile(case):
    """Compare fields by value, and depend on nothing outside the cell."""
    first, second = case.problem(), case.problem(seed=1)
    twin = case._replace(cell=rebuilt(case.cell))
    case.back(*first)
    with compilations() as seen:
        twin.back(*second)
    ensure(not seen, f"{len(seen)} compilations")


@CHECKS.add
def bfloat16_weights_give_float32_results_close_to_float64(case):
    """Multiply with `rnn_jax.cells.array_ops.dot`; give the dtype of every constant."""
    params, xs, carry, _ = case.problem(steps=FEW)
    narrow = as_type(jnp.bfloat16, params)
    exact = loop(case.cell, as_type(np.float64, narrow), xs, carry)
    got = case.run(narrow, *as_type(np.float32, (xs, carry)))
    assert_types(jnp.float32, got, "the result")
    assert_close(named_results(got), named_results(exact), 0.05)


@CHECKS.add
def bfloat16_arguments_still_give_float32_results(case):
    """Multiply with `rnn_jax.cells.array_ops.dot`, and keep the dtype of the carry."""
    params, xs, carry, _ = case.problem(dtype=jnp.bfloat16)
    unrolled = partial(unroll, case.cell, driver=DRIVERS[case.driver])
    assert_types(jnp.float32, jax.eval_shape(unrolled, params, xs, carry), "the result")


@CHECKS.add
def zero_steps_return_the_initial_carry(case):
    """Support xs [0, B, D], a sequence without steps."""
    params, xs, carry, (d_carry, d_ys) = case.problem(steps=0)
    got = case.back(params, xs, carry, (d_carry, d_ys))
    assert_same(
        named_results(*got), named_results((carry, d_ys), (zeros_like(params), xs, d_carry))
    )


@CHECKS.add
def an_empty_batch_returns_an_empty_batch(case):
    """Support xs [T, 0, D], a batch without sequences."""
    params, xs, carry, (d_carry, d_ys) = case.problem(batch=(0,))
    got = case.back(params, xs, carry, (d_carry, d_ys))
    assert_same(named_results(*got), named_results((carry, d_ys), (zeros_like(params), xs, carry)))


@CHECKS.add
def a_sequence_gives_the_same_result_alone_and_in_a_batch(case):
    """Do not mix examples of a batch; index axes from the last one."""
    params, xs, carry, _ = case.problem(steps=FEW)
    last, ys = loop(case.cell, params, xs, carry)
    carry, last = jax.tree.map(lambda h: h[0], (carry, last))
    assert_close(named_results(case.run(params, xs[:, 0], carry)), named_results((last, ys[:, 0])))


@CHECKS.add
def several_batch_dimensions_equal_one_flat_batch(case):
    """Support any batch dimensions: concatenate and split along axis -1."""
    params, xs, carry, _ = case.problem(steps=FEW)
    last, ys = loop(case.cell, params, xs, carry)
    carry, last = jax.tree.map(lambda h: h.reshape(2, 2, *h.shape[1:]), (carry, last))
    xs, ys = (seq.reshape(FEW, 2, 2, *seq.shape[2:]) for seq in (xs, ys))
    assert_close(named_results(case.run(params, xs, carry)), named_results((last, ys)))
