"""Online gradients: exact ones equal backpropagation, approximate ones their equations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import CELLS, every_cell, telling_cell
from online_tasks import loss, task, through_time

from rnn_jax import (
    Cell,
    CTRNNCell,
    GRUCell,
    HiddenCarry,
    IndRNNCell,
    InputError,
    LRUCell,
    LSTMCell,
    MinGRUCell,
    ResetBeforeGRUCell,
    RNNCell,
    learned_carry,
    orthogonal_recurrence,
    zoneout,
)
from rnn_jax.analysis.online_estimators import RFLO, RTRL, UORO, SnAp1
from rnn_jax.analysis.online_gradients import online_gradient, online_start
from rnn_jax.testing.oracle import assert_close, problem


@partial(jax.jit, static_argnums=(0, 1))
def online(estimator, cell, params, xs, targets, key=None, **masks):
    state = online_start(estimator, cell, params[0], xs.shape[1:-1], key=key)
    return online_gradient(loss, estimator, cell, params, state, xs, targets, **masks)[:2]


def masks_of(steps, batch, seed=2):
    rng = np.random.default_rng(seed)
    return {"mask": rng.random((steps, *batch)) > 0.3, "resets": rng.random((steps, *batch)) > 0.6}


def check_exact(estimator, cell, **masks):
    given = task(cell)
    assert_close(online(estimator, cell, *given, **masks), through_time(cell, *given, **masks))


@telling_cell
def test_rtrl_equals_backpropagation_for_representative_cells(cell, float64):
    check_exact(RTRL(), cell)


@every_cell
def test_rtrl_equals_backpropagation_for_every_cell(cell, float64):
    check_exact(RTRL(), cell, **masks_of(5, (2,)))


class OwnCell(Cell):
    """A cell of a user: only a step, parameters in a dict, an output that is not the carry."""

    def init(self, key, input_size):
        return {"w": jax.random.normal(key, (input_size, self.hidden_size)), "u": jnp.ones(())}

    def initial_carry(self, batch_shape=(), dtype=jnp.float32):
        return HiddenCarry(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def step(self, params, carry, x):
        h = jnp.sin(params["u"] * jnp.roll(carry.h, 1, -1) + x @ params["w"])
        return HiddenCarry(h), params["u"] * carry.h + h * h


@pytest.mark.parametrize(
    "cell",
    [
        learned_carry(ResetBeforeGRUCell(3)),
        orthogonal_recurrence(RNNCell(3)),
        zoneout(LSTMCell(3), 0.2),
        OwnCell(3),
    ],
)
def test_resets_masks_and_wrappers_give_the_gradient_of_unroll(cell, float64):
    check_exact(RTRL(), cell, **masks_of(5, (2,)))


@pytest.mark.parametrize("cell", [IndRNNCell(3, activation="tanh"), MinGRUCell(3), LRUCell(3)])
@pytest.mark.parametrize("masks", [{}, masks_of(5, (2,))])
def test_snap1_is_exact_for_diagonal_and_complex_cells(cell, masks, float64):
    check_exact(SnAp1(), cell, **masks)


@pytest.mark.parametrize("cell", [CELLS[name].cell for name in ("s5", "minlstm", "rglru")])
def test_snap1_is_exact_for_other_linear_cells(cell, float64):
    check_exact(SnAp1(), cell)


def test_snap1_is_the_masked_recursion_of_the_paper(float64):
    cell = LSTMCell(3)
    (params, head), xs, targets = given = task(cell, batch=())
    grads = jax.tree.map(np.zeros_like, params)
    carry = cell.initial_carry((), jnp.float64)
    flat = lambda carry: jnp.concatenate(carry)  # noqa: E731
    step = jax.jit(jax.jacrev(lambda p, c, x: flat(cell.step(p, c, x)[0]), argnums=(0, 1)))
    trace = kept = None
    for x, target in zip(xs, targets, strict=True):
        now, jacobian = step(params, carry, x)
        jacobian = np.concatenate([np.asarray(block) for block in jacobian], axis=1)
        carry, y = cell.step(params, carry, x)
        if trace is None:
            kept = jax.tree.map(units_kept, step(params, cell_carry(cell), x)[0])
            trace = jax.tree.map(np.zeros_like, now)
        trace = jax.tree.map(
            lambda i, m, k, jacobian=jacobian: k * (i + np.tensordot(jacobian, m, 1)),
            now,
            trace,
            kept,
        )
        d_h = np.concatenate([jax.grad(loss, argnums=1)(head, y, target), np.zeros(3)])
        grads = jax.tree.map(lambda g, m, d=d_h: g + np.tensordot(d, m, 1), grads, trace)
    assert_close(online(SnAp1(), cell, *given)[1][0], grads)


def units_kept(now):
    """True for the unit that a parameter moves, in both fields of an LSTM's carry."""
    moved = (np.asarray(now) != 0).reshape(2, 3, *now.shape[1:]).any(0)
    return np.concatenate([moved, moved])


def cell_carry(cell):
    """A carry without zeros, at which no derivative vanishes."""
    return jax.tree.map(lambda leaf: leaf + 0.5, cell.initial_carry((), jnp.float64))


def test_rflo_is_the_published_recursion_of_a_leaky_network(float64):
    cell = CTRNNCell(3, leak=0.3, activation="tanh")
    (params, head), xs, targets = given = task(cell, batch=())
    w_x, w_h, b, head_ = (np.asarray(leaf) for leaf in (*params, head))
    h, leak = np.zeros(3), cell.leak
    traces = [np.zeros_like(w_x), np.zeros_like(w_h), np.zeros_like(b)]
    grads = [np.zeros_like(w) for w in traces]
    for x, target in zip(np.asarray(xs), np.asarray(targets), strict=True):
        rates = np.tanh(h)
        h = (1 - leak) * h + leak * (x @ w_x + b + rates @ w_h)
        sources = [x[:, None] + 0 * w_x, rates[:, None] + 0 * w_h, 1 + 0 * b]
        traces = [(1 - leak) * p + leak * source for p, source in zip(traces, sources, strict=True)]
        y = np.tanh(h)
        error = head_ @ ((1 - np.tanh(y @ head_) ** 2) * target)
        d_h = (1 - y**2) * error
        grads = [g + p * d_h for g, p in zip(grads, traces, strict=True)]
    assert_close(list(online(RFLO(), cell, *given)[1][0]), grads)


def test_rflo_is_exact_without_recurrent_weights(float64):
    cell = LSTMCell(3)
    (params, head), xs, targets = task(cell)
    given = (params._replace(w_h=0 * params.w_h), head), xs, targets
    got, want = online(RFLO(), cell, *given)[1][0], through_time(cell, *given)[1][0]
    assert_close((got.w_x, got.b), (want.w_x, want.b))


@pytest.mark.parametrize("cell", [GRUCell(2), learned_carry(LSTMCell(2))])
def test_uoro_is_unbiased_over_many_draws(cell, float64):
    draws = 4000
    params, xs, targets = task(cell, steps=4, batch=())
    masks = {"resets": np.array([False, False, True, False])}
    keys = jax.random.split(jax.random.key(3), draws)
    run = jax.jit(jax.vmap(lambda key: online(UORO(), cell, params, xs, targets, key, **masks)[1]))
    for got, want in zip(
        jax.tree.leaves(run(keys)),
        jax.tree.leaves(through_time(cell, params, xs, targets, **masks)[1]),
        strict=True,
    ):
        # A mean of draws is normal: 5 standard errors are exceeded with probability 6e-7 a number.
        error = np.std(got, axis=0, ddof=1) / draws**0.5
        assert np.all(np.abs(np.mean(got, axis=0) - want) <= 5 * error + 1e-12)


def test_pieces_of_a_stream_add_up_to_its_gradient(float64):
    cell = GRUCell(3)
    params, xs, targets = task(cell, steps=6)
    masks = jax.tree.map(jnp.asarray, masks_of(6, (2,)))
    state = online_start(RTRL(), cell, params[0], (2,))
    compiled, total = jax.jit(partial(online_gradient, loss, RTRL(), cell)), None
    for piece in (slice(0, 1), slice(1, 4), slice(4, 6)):
        part = {name: mask[piece] for name, mask in masks.items()}
        *got, state = compiled(params, state, xs[piece], targets[piece], **part)
        total = got if total is None else jax.tree.map(jnp.add, total, got)
    assert_close(tuple(total), through_time(cell, params, xs, targets, **masks))


def test_values_of_masked_steps_do_not_reach_the_gradient(float64):
    params, xs, targets = task(cell := GRUCell(3))
    mask = np.arange(5)[:, None] < np.array([5, 2])
    bad = jnp.where(mask[..., None], xs, jnp.nan)
    got = online(RTRL(), cell, params, bad, targets, mask=mask)
    assert_close(got, online(RTRL(), cell, params, xs, targets, mask=mask))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "estimator, cell, words",
    [
        (SnAp1(), ResetBeforeGRUCell(3), "SnAp1 needs a cell in which a parameter moves one unit"),
        (RFLO(), CELLS["conv_lstm"].cell, "RFLO needs a cell in which a parameter moves one unit"),
        (SnAp1(), CELLS["projected"].cell, "use UORO"),
        ("rtrl", RNNCell(3), "estimator must be an object such as RTRL"),
    ],
)
def test_a_cell_that_does_not_fit_is_one_sentence(estimator, cell, words):
    p = problem(cell, steps=2, dtype=jnp.float32)
    with pytest.raises(InputError, match=words):
        online(estimator, cell, (p.params, jnp.ones((3, 2))), p.xs, jnp.ones((*p.xs.shape[:-1], 2)))


@pytest.mark.usefixtures("unchecked")
def test_params_of_another_dtype_are_one_sentence():
    cell = RNNCell(3)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), cell.init(jax.random.key(0), 2))
    with pytest.raises(InputError, match="need all params in float32"):
        online_start(RTRL(), cell, half)
