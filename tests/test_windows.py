"""Runs in reverse, and truncated backpropagation through time."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnn_jax import ConvLSTMCell, LSTMCell, MinGRUCell, ResetBeforeGRUCell, learned_carry, unroll
from rnn_jax.testing.oracle import (
    B,
    T,
    assert_close,
    assert_same,
    loop_back,
    problem,
    run,
    run_back,
)
from rnn_jax.wrappers.masking import hold

pytestmark = pytest.mark.usefixtures("float64")

LENGTHS = np.array([0, 3, 7, 5], np.int32)
EVERY = [
    pytest.param(LSTMCell(2), "scan", id="lstm-scan"),
    pytest.param(LSTMCell(2), "chunked", id="lstm-chunked"),
    pytest.param(ResetBeforeGRUCell(2), "scan", id="step-scan"),
    pytest.param(ConvLSTMCell(1), "chunked", id="conv-chunked"),
    pytest.param(MinGRUCell(2), "associative", id="linear-associative"),
]
every_cell_and_driver = pytest.mark.parametrize("cell, driver", EVERY)


def flipped(sequences):
    """Reverse each sequence of `LENGTHS`, without its padding."""
    t = np.arange(T)[:, None]
    return np.asarray(sequences)[np.where(t < LENGTHS, LENGTHS - 1 - t, t), np.arange(B)]


@every_cell_and_driver
def test_reverse_is_forward_on_each_sequence_flipped(cell, driver):
    params, xs, carry, (d_last, d_ys) = problem(cell, features=1)
    how = {"driver": driver, "lengths": LENGTHS}
    got = run_back(cell, params, xs, carry, (d_last, d_ys), reverse=True, **how)
    given = params, flipped(xs), carry, (d_last, flipped(d_ys))
    (last, ys), (d_params, d_xs, d_carry) = run_back(cell, *given, reverse=False, **how)
    assert_close(got, ((last, flipped(ys)), (d_params, flipped(d_xs), d_carry)))


def windowed(cell, params, xs, carry, cotangents, window):
    """Run windows one after the other, each with its own gradients."""
    d_last, d_ys = cotangents
    ys, d_params, d_xs = [], [], []
    for start in range(0, len(xs), window):
        end = start + window
        d_end = d_last if end >= len(xs) else jax.tree.map(np.zeros_like, d_last)
        given = params, xs[start:end], carry, (d_end, d_ys[start:end])
        (carry, out), (of_params, of_xs, of_carry) = loop_back(cell, *given)
        ys.append(out)
        d_params.append(of_params)
        d_xs.append(of_xs)
        d_carry = d_carry if start else of_carry
    total = jax.tree.map(lambda *parts: sum(parts), *d_params)
    return (carry, np.concatenate(ys)), (total, np.concatenate(d_xs), d_carry)


@every_cell_and_driver
def test_tbptt_has_the_values_of_the_whole_and_gradients_by_window(cell, driver):
    given = jax.device_get(problem(cell, features=1))
    got = run_back(cell, *given, driver=driver, tbptt_steps=3)
    assert_close(got, windowed(cell, *given, 3))
    assert_close(got[0], loop_back(cell, *given)[0])


@pytest.mark.parametrize("window", [1, 5])
def test_tbptt_steps_may_be_any_number(window):
    cell = LSTMCell(2)
    given = jax.device_get(problem(cell, features=1))
    got = run_back(cell, *given, driver="chunked", tbptt_steps=window)
    assert_close(got, windowed(cell, *given, window))


def test_tbptt_steps_above_t_truncate_nothing():
    cell = LSTMCell(2)
    given = problem(cell, features=1)
    got, want = (run_back(cell, *given, driver="chunked", tbptt_steps=n) for n in (9 * T, None))
    assert_same(got, want)


RESETS = np.zeros((T, B), bool)
RESETS[3] = RESETS[6, 1] = RESETS[4, 2] = RESETS[1] = True
"""Resets, some of them at the first step of a window of 3 steps."""


def windows_apart(cell, params, xs, carry, window, reverse, lengths):
    """The carry and outputs of windows run one by one, each with the start of its episodes."""
    borders = [*range(0, T, window), T]
    spans = list(pairwise(borders))
    if reverse:
        spans = [(T - end, T - start) for start, end in spans]
    keep, outputs = np.arange(T)[:, None] < lengths, {}
    for first, end in spans:
        rows = slice(first, end)
        how = {"mask": jnp.asarray(keep[rows]), "resets": jnp.asarray(RESETS[rows])}
        carry, outputs[first] = unroll(cell, params, xs[rows], carry, reverse=reverse, **how)
        carry = jax.lax.stop_gradient(carry)
        if reverse:  # In reverse, an episode ends at its first step.
            over = keep[rows] & RESETS[rows]
            start = cell.start(params, (B,), xs.dtype)
            # The episode ends at its first valid step.
            fresh = over[np.argmax(keep[rows], axis=0), np.arange(B)]
            carry = hold(jnp.asarray(fresh, jnp.float32), start, carry)
    return carry, jnp.concatenate([outputs[first] for first in sorted(outputs)])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("driver", ["scan", "chunked"])
@pytest.mark.parametrize("lengths", [[T] * B, [7, 3, 5, 6]], ids=["whole", "ragged"])
def test_an_episode_at_a_window_start_keeps_its_gradient(driver, reverse, lengths):
    cell = learned_carry(LSTMCell(2))
    params, xs, carry, (_, d_ys) = problem(cell, features=1)
    lengths = jnp.array(lengths)

    def ours(params):
        how = {"lengths": lengths, "resets": jnp.asarray(RESETS), "reverse": reverse}
        return unroll(cell, params, xs, carry, tbptt_steps=3, driver=driver, **how)[1]

    def apart(params):
        return windows_apart(cell, params, xs, carry, 3, reverse, np.asarray(lengths))[1]

    assert_close(*(jax.device_get(f(params)) for f in (ours, apart)))
    got, want = (jax.device_get(jax.vjp(f, params)[1](d_ys)) for f in (ours, apart))
    assert_close(got, want)
    assert np.all(got[0].carry.h != 0)


def test_in_reverse_the_first_window_is_at_the_end():
    cell = LSTMCell(2)
    params, xs, carry, (d_last, d_ys) = jax.device_get(problem(cell, features=1))
    given = params, xs, carry, (d_last, d_ys)
    got = run_back(cell, *given, driver="chunked", tbptt_steps=3, reverse=True)
    turned = params, xs[::-1], carry, (d_last, d_ys[::-1])
    (last, ys), (d_params, d_xs, d_carry) = windowed(cell, *turned, 3)
    assert_close(got, ((last, ys[::-1]), (d_params, d_xs[::-1], d_carry)))


@pytest.mark.parametrize(
    "options", [{"tbptt_steps": 2}, {"reverse": True}], ids=["tbptt_steps", "reverse"]
)
def test_zero_steps_run(options):
    cell = LSTMCell(2)
    params, xs, carry, _ = problem(cell, steps=0)
    last, ys = partial(run, cell, driver="scan")(params, xs, carry, **options)
    assert_same((last, ys), jax.device_get((carry, np.zeros((0, B, 2)))))
