"""Measurements of one network: time of a training step, gradient norms, exponents and gates."""

import functools
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flow_subjects import Net, Subject
from timing import interleave, spread, turn

from rnn_jax.analysis import gradient_flow
from rnn_jax.analysis.adjoint_probe import unroll_probed, zero_probe
from rnn_jax.analysis.lyapunov import lyapunov_spectrum
from rnn_jax.analysis.recording import gate_activations, has_activations
from rnn_jax.analysis.time_scales import gate_statistics, half_life, time_constant
from rnn_jax.cells.array_ops import dot
from rnn_jax.cells.base import Cell, GatedCell
from rnn_jax.datasets.memory_tasks import last_steps_loss
from rnn_jax.drivers.unroll import unroll
from rnn_jax.typing import Array, Float, Shaped

OPTIMIZER = optax.adam(1e-3)
PROBED_EXAMPLES = 4
"""Number of examples for exponents and gates."""
BURN_IN = 4
"""The first T / BURN_IN steps are excluded from the exponents."""


def loss_of(net: Net, ys: Float[Array, "T B H"], targets: Shaped[Array, "R B ..."]):
    """The loss of the outputs [T, B, H] of a cell; see `last_steps_loss`."""
    return last_steps_loss(dot(ys[-len(targets) :], net.w) + net.b, targets)


@functools.cache
def train_steps(cell: Cell) -> tuple[Callable, Callable]:
    """Jitted training steps with Adam, `step(net, opt_state, batch)`: without and with probe.

    Both return net, opt_state, loss and gradients; the second also returns log10 ‖∂L/∂carry_t‖ of
    each example, [T, B] for each field of the carry, t = 1 to T. For a cell that the probe does not
    support, these norms are computed in a second pass.
    """

    def update(net, opt_state, loss, grads):
        updates, opt_state = OPTIMIZER.update(grads, opt_state, net)
        return optax.apply_updates(net, updates), opt_state, loss, grads

    @jax.jit
    def plain(net, opt_state, batch):
        def loss(net):
            _, ys = unroll(cell, net.cell, batch.xs)
            return loss_of(net, ys, batch.targets)

        return update(net, opt_state, *jax.value_and_grad(loss)(net))

    @jax.jit
    def probed(net, opt_state, batch):
        def loss(net, probe):
            _, ys = unroll_probed(cell, net.cell, batch.xs, probe)
            return loss_of(net, ys, batch.targets)

        probe = zero_probe(cell, *batch.xs.shape[:1], batch.xs.shape[1:-1])
        loss, (grads, norms) = jax.value_and_grad(loss, (0, 1))(net, probe)
        return *update(net, opt_state, loss, grads), norms

    @jax.jit
    def twice(net, opt_state, batch):
        norms = gradient_flow.loss_adjoint_norms(
            lambda _, ys: loss_of(net, ys, batch.targets), cell, net.cell, batch.xs
        )
        norms = jax.tree.map(lambda field: field[1:], norms.carry)
        return *plain(net, opt_state, batch), norms

    return plain, probed if isinstance(cell, GatedCell) else twice


def compile_all(subject: Subject, exponents: int) -> None:
    """Compile all functions in parallel, since each compilation uses one core."""
    cell, net, batch = subject
    few = batch.xs[:, :PROBED_EXAMPLES]
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(step, net, OPTIMIZER.init(net), batch) for step in train_steps(cell)]
        calls.append(pool.submit(_exponents, cell, net.cell, few, exponents))
        calls.append(pool.submit(_gates, cell, net.cell, few))
        for call in calls:
            jax.block_until_ready(call.result())


def time_steps(subject: Subject, repeats: int) -> dict[str, float]:
    """Columns of a row: time and throughput of a training step, without and with the probe."""
    cell, net, batch = subject
    opt_state = OPTIMIZER.init(net)

    def timed(step):
        return lambda: turn(lambda: jax.block_until_ready(step(net, opt_state, batch)))

    plain, probed = map(timed, train_steps(cell))
    seconds = interleave({"plain": plain, "probed": probed}, repeats)
    ratios = [p / s for s, p in zip(seconds["plain"], seconds["probed"], strict=True)]
    columns = {f"probed_{name}": value for name, value in spread(seconds["probed"]).items()}
    columns |= spread(seconds["plain"]) | {"probe_ratio": statistics.median(ratios)}
    tokens = batch.xs.shape[0] * batch.xs.shape[1]
    for name in ("", "probed_"):
        columns[f"{name}tokens_per_second"] = 1e3 * tokens / columns[f"{name}median_ms"]
    del columns["probed_repeats"]
    return columns | {"probe": "same pass" if isinstance(cell, GatedCell) else "second pass"}


def measure(subject: Subject, exponents: int) -> dict:
    """Columns of a row: gradient norms of a network, its exponents and its gates.

    Values that are not finite become None, for example the log norm of a zero gradient.
    """
    cell, net, batch = subject
    _, probed = train_steps(cell)
    *_, loss, grads, norms = probed(net, OPTIMIZER.init(net), batch)
    # The loss is a mean over the batch; the adjoint of an example refers to its own loss.
    scale = np.log10(batch.xs.shape[1])
    flow = {
        field: np.asarray(values, np.float64).mean(1) + scale
        for field, values in zip(norms._fields, norms, strict=True)
    }
    by_name = _parameter_norms(cell, net, grads.cell, batch)
    few = batch.xs[:, :PROBED_EXAMPLES]
    return _plain_numbers(
        {
            "loss": float(loss),
            "parameter_norms": by_name,
            "adjoint_norms": flow,
            "half_life": {f: half_life(values[::-1])._asdict() for f, values in flow.items()},
            "lyapunov": _exponents(cell, net.cell, few, exponents),
            **_gates(cell, net.cell, few),
        }
    )


@functools.partial(jax.jit, static_argnums=0)
def _norms_of(cell, grads):
    whole = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(grads)])
    return {"all": gradient_flow.log10_norm(whole)} | gradient_flow.parameter_norms(cell, grads)


@functools.partial(jax.jit, static_argnums=0)
def _norms_beyond_floats(cell, net, batch):
    _, ys = unroll(cell, net.cell, batch.xs)
    d_ys = jax.grad(loss_of, 1)(net, ys, batch.targets)
    return gradient_flow.parameter_gradient_norms(cell, net.cell, batch.xs, d_ys)


def _parameter_norms(cell, net, grads, batch):
    """log10 norms of the gradient wrt each parameter of the cell, by name, and wrt `all`."""
    if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads)):
        return _norms_of(cell, grads)
    norms = _norms_beyond_floats(cell, net, batch)
    whole = [value for name, value in norms.items() if name.rpartition(".")[0] not in norms]
    total = gradient_flow.log10_mean(2 * jnp.stack(whole)) + np.log10(len(whole))
    return {"all": total / 2} | norms


@functools.partial(jax.jit, static_argnums=(0, 3))
def _spectrum(cell, params, xs, count):
    return lyapunov_spectrum(cell, params, xs, count=count, burn_in=len(xs) // BURN_IN).mean(0)


def _exponents(cell, params, xs, count):
    """Leading exponents in nats per step, averaged over examples."""
    size = sum(field.shape[-1] for field in cell.initial_carry())
    return _spectrum(cell, params, xs, min(count, size)) if count else []


@functools.partial(jax.jit, static_argnums=0)
def _gate_values(cell, params, xs):
    values = gate_activations(cell, params, xs)
    shown = {name: (gate >= 0).all() for name, gate in values.items()}
    units = {name: time_constant(gate, (0, 1)) for name, gate in values.items()}
    return gate_statistics(values), shown, units


def _gates(cell, params, xs):
    """Mean and saturation of gates with values from 0 to 1, and time constants of the units."""
    if not has_activations(cell):
        return {"gates": {}, "keep_gate": None, "time_constant": None}
    statistics, shown, units = _gate_values(cell, params, xs)
    columns = {
        name: {part: np.mean(getattr(statistics[name], part)) for part in ("mean", "low", "high")}
        for name in cell.gates
        if shown[name]
    }
    keep = cell.keep_gate
    constants = None if keep is None else np.quantile(units[keep], (0.1, 0.5, 0.9))
    return {"gates": columns, "keep_gate": keep, "time_constant": constants}


def _plain_numbers(value):
    """Convert to JSON: lists, floats with 5 significant digits, None for non-finite values."""
    if isinstance(value, dict):
        return {name: _plain_numbers(inner) for name, inner in value.items()}
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) or np.ndim(value):
        return [_plain_numbers(inner) for inner in np.asarray(value).tolist()]
    return float(f"{value:.5g}") if np.isfinite(value) else None
