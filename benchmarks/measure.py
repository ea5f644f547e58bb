"""Measurement of one point or job, with interleaved implementations and one row for each."""

import dataclasses
import statistics
import tempfile
from pathlib import Path

import numpy as np
from peers.problem import GATES, Problem, Sizes, difference
from processes import Implementation, Team
from timing import interleave, spread
from worker import Absent

from rnn_jax import LSTMCell
from rnn_jax.drivers.unroll import pick_driver
from rnn_jax.errors import InputError

MATMUL_SIZE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}
JOB_TURN = 50
"""Steps of a job that an implementation runs in each round."""


def measure_layer(
    team: Team, problem: Problem, repeats: int, profile: Path | None = None, *, peers: bool = True
) -> tuple[list[dict], dict[str, str]]:
    """Measure one point; return its rows, and the reasons for absent implementations by label.

    `max_difference` is the difference from the first driver of rnn_jax on one device, relative to
    the maximum of each array; null, with the reason, if the equations of a peer differ.
    """
    built, reference, absent = [], None, {}
    for member in team.members(problem.B):
        if not (peers or member.ours):
            continue
        try:
            facts, values = _build(member, problem)
        except Absent as reason:
            _fail_if_ours(member, reason)
            absent[member.label] = str(reason)
            continue
        reference = reference or {"values": values, "gates": facts["gates"]}
        differs = facts.pop("differs")
        facts["max_difference"] = None if differs else difference(values, reference["values"])
        built.append((member, facts | {"difference_note": differs}))
    if reference is None:
        reasons = "; ".join(dict.fromkeys(absent.values()))
        raise InputError(f"nothing can run {problem.cell} in the pass {problem.work}: {reasons}.")
    turns = {member.label: _turn(member.worker, member.label) for member, _ in built}
    operations, turns["matmul"] = _matmul(team)
    seconds = interleave(turns, repeats)
    matmul = operations / statistics.median(seconds.pop("matmul")) / 1e9
    if profile:
        for member in (member for member, _ in built if member.ours):
            folder = profile / _file_name(member.label, problem)
            member.worker.ask(do="profile", key=member.label, folder=str(folder))
    team.clear()
    rows = []
    for member, facts in built:
        speed = spread(seconds[member.label])
        rate = _gflops(problem, reference["gates"], speed["median_ms"])
        rows.append(
            {
                "implementation": member.name,
                "devices": member.devices,
                "default_driver": facts.get("default"),
                "cell": problem.cell,
                "pass": problem.work,
                **{letter: getattr(problem, letter) for letter in "TBDH"},
                "dtype": "float32",
                **speed,
                "lower_ms": facts["lower_ms"],
                "compile_ms": facts["compile_ms"],
                "tokens_per_second": 1e3 * problem.T * problem.B / speed["median_ms"],
                "gflops": rate,
                "matmul_gflops": matmul,
                "roofline_fraction": rate and rate / matmul,
                "peak_memory_mb": facts["peak_memory_mb"],
                "max_difference": facts["max_difference"],
                "difference_note": facts["difference_note"],
                **team.facts,
                **member.facts,
            }
        )
    return rows, absent


def _build(member: Implementation, problem: Problem) -> tuple[dict, dict]:
    """Facts about a compiled layer, and the values that it computed."""
    if problem.cell not in GATES and not member.ours:
        raise Absent("it has no such cell")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.npz"
        request = {"problem": dataclasses.asdict(problem), "save": str(path)}
        facts = member.worker.ask(do="build", key=member.label, **request, **member.options)
        with np.load(path) as values:
            return facts, dict(values)


def _fail_if_ours(member, reason):
    if member.ours and reason.trace:
        raise RuntimeError(f"{member.label} failed\n{reason.trace}") from reason


def _turn(worker, key):
    return lambda: worker.ask(do="turn", key=key)["seconds"]


def _matmul(team):
    size = MATMUL_SIZE[team.device]
    answer = team.first.ask(do="matmul", key="matmul", size=size)
    return answer["operations"], _turn(team.first, "matmul")


def _gflops(problem, gates, milliseconds):
    """GFLOP/s of the products with w_x and w_h; gradients add twice as many operations."""
    if gates is None or problem.work == "lyapunov":
        return None
    steps, wide = problem.T * problem.B, gates * problem.H
    operations = 2 * steps * wide * (problem.D + problem.H) * (3 if problem.work == "train" else 1)
    return operations / milliseconds / 1e6


def _file_name(label, problem):
    numbers = (f"{letter}{getattr(problem, letter)}" for letter in "TBDH")
    return "-".join([*label.split(), problem.cell.replace(":", "."), problem.work, *numbers])


def measure_job(team: Team, steps: int, data: Path) -> tuple[list[dict], dict[str, str]]:
    """Measure the MNIST job; return its rows, and the reasons for absent peers by label.

    Args:
      team: the implementations.
      steps: training steps, after one round to compile and warm up.
      data: an .npz file of images [N, 28, 28] in 0 to 255 and labels [N].
    """
    sizes, absent, built = Sizes(), {}, []
    with np.load(data) as arrays:
        count = len(arrays["labels"])
    random = np.random.RandomState(0)
    epochs = -(-steps // (count // sizes.batch))
    order = np.concatenate([random.permutation(count) for _ in range(epochs)])
    indices = order[: steps * sizes.batch].reshape(steps, sizes.batch).tolist()
    request = {"data": str(data), "sizes": dataclasses.asdict(sizes)}
    for member in team.members(sizes.batch):
        job = request | {"indices": indices[:JOB_TURN]} | member.options
        try:
            answer = member.worker.ask(do="job", key=member.label, **job)
        except Absent as reason:
            _fail_if_ours(member, reason)
            absent[member.label] = str(reason)
            continue
        built.append((member, answer["start_seconds"]))
    operations, matmul_turn = _matmul(team)
    taken, losses, products = {m.label: [] for m, _ in built}, {}, []
    for first in range(0, steps, JOB_TURN):
        for member, _ in built:
            turn = {"key": member.label, "indices": indices[first : first + JOB_TURN]}
            answer = member.worker.ask(do="steps", **turn)
            taken[member.label].append(answer["seconds"])
            losses[member.label] = answer["loss"]
        products.append(matmul_turn())
    matmul = operations / statistics.median(products) / 1e9
    rows, default = [], pick_driver(LSTMCell(sizes.hidden_size), 28)
    for member, start_seconds in built:
        seconds = sum(taken[member.label])
        layer = Problem("lstm", "train", 28, sizes.batch, sizes.input_size, sizes.hidden_size)
        rate = _gflops(layer, GATES["lstm"], 1e3 * seconds / steps)
        rows.append(
            {
                "implementation": member.name,
                "devices": member.devices,
                "default_driver": member.options.get("driver") == default,
                "job": "mnist",
                "steps": steps,
                **dataclasses.asdict(sizes),
                "seconds": seconds,
                "step_ms": 1e3 * seconds / steps,
                "start_seconds": start_seconds,
                "final_loss": losses[member.label],
                "gflops": rate,
                "matmul_gflops": matmul,
                "roofline_fraction": rate / matmul,
                **team.facts,
                **member.facts,
            }
        )
    return rows, absent
