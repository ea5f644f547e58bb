"""Data parallelism over CPU cores, GPUs and hosts: one mesh axis, `data`, that splits a batch."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rnn_jax.errors import InputError, RunError
from rnn_jax.training.commands import signals
from rnn_jax.training.devices import rendezvous
from rnn_jax.training.runs.provenance import cores

FORCED = "xla_force_host_platform_device_count"
"""The flag of XLA_FLAGS that sets the number of CPU devices."""


def start_devices(
    devices: int = 0,
    coordinator: str = "",
    num_processes: int = 1,
    process_id: int = 0,
    start_timeout: float = rendezvous.SECONDS,
) -> None:
    """Make each CPU core a JAX device, and connect to the other processes of a run, if any.

    Call this before any other use of JAX: once JAX has started, its devices are fixed and this has
    no effect. A number of CPU devices set in the environment is not changed.

    Args:
      devices: minimum number of CPU devices over all processes; no effect on GPUs and TPUs.
      coordinator: "host:port" of process 0, or "auto" where JAX detects it (Slurm, Open MPI,
        Cloud TPU, Kubernetes); empty for a single process.
      num_processes, process_id: number of processes, and the index of this one from 0; not needed
        with "auto".
      start_timeout: seconds to wait for the other processes.

    Raises:
      InputError: the arguments are invalid, or differ between the processes.
      RunError: the processes do not find each other.
    """
    _check_processes(coordinator, num_processes, process_id)
    count = max(-(-devices // num_processes), cores())
    chosen: int = jax.config.jax_num_cpu_devices  # pyright: ignore[reportAttributeAccessIssue]
    if chosen < 1 and FORCED not in os.environ.get("XLA_FLAGS", ""):
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:
            return
    if not coordinator or jax.distributed.is_initialized():
        return
    seconds = max(1, round(start_timeout))
    address: Any = ()
    if coordinator != "auto":
        rendezvous.meet(coordinator, num_processes, process_id, start_timeout)
        address = coordinator, num_processes, process_id
    try:
        jax.distributed.initialize(
            *address, initialization_timeout=seconds, heartbeat_timeout_seconds=10
        )
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"the processes of the run did not find each other at {coordinator} ({reason}); "
            "start all of them with the same `coordinator`, the host:port of process 0."
        ) from error
    signals.reinstall()  # JAX has replaced the handler of SIGTERM.


def _check_processes(coordinator, num_processes, process_id):
    if num_processes < 1:
        raise InputError(f"`num_processes` must be at least 1, got {num_processes}.")
    if not 0 <= process_id < num_processes:
        raise InputError(
            f"`process_id` must be from 0 to {num_processes - 1}, below `num_processes`; "
            f"got {process_id}."
        )
    if num_processes > 1 and not coordinator:
        raise InputError(
            f"{num_processes} processes need a `coordinator`, the host:port of process 0."
        )


def data_mesh(batch_size: int, devices: int = 0) -> Mesh:
    """A mesh with one axis `data`, over which batches of `batch_size` divide evenly.

    Each process of a run contributes the same number of devices.

    Args:
      batch_size: examples in a batch.
      devices: number of devices; 0 takes the largest number that divides the batch.

    Raises:
      InputError: there are fewer devices, or their number does not divide the batch.
    """
    processes, local = jax.process_count(), jax.local_device_count()
    counts = [processes * n for n in range(1, local + 1)]
    if devices and devices not in counts:
        steps = f" in steps of {processes}, the processes" if processes > 1 else ""
        raise InputError(
            f"`devices` must be 0 (as many as divide the batch) or {counts[0]} to {counts[-1]}"
            f"{steps}, the number JAX sees here; got {devices}."
        )
    fitting = [n for n in counts if batch_size % n == 0]
    if not devices and fitting:
        devices = fitting[-1]
    if devices not in fitting:
        devices = devices or processes
        below = batch_size // devices * devices
        nearest = " or ".join(str(n) for n in (below, below + devices) if n)
        raise InputError(
            f"a batch of {batch_size} does not divide over {devices} devices; "
            f"take a batch of {nearest}, or 0 `devices` for the most that divide it."
        )
    share = devices // processes
    by_process = [[d for d in jax.devices() if d.process_index == p] for p in range(processes)]
    taken = [device for own in by_process for device in own[:share]]
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=taken)


def largest(*values: float) -> tuple[float, ...]:
    """The maximum of each value over all processes of the run."""
    if jax.process_count() == 1:
        return values
    return tuple(multihost_utils.process_allgather(np.array(values, np.float32)).max(0).tolist())


@contextlib.contextmanager
def all_present() -> Iterator[None]:
    """A context in which the loss of another process of the run raises RunError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).partition("\n")[0][:200]
        raise RunError(
            f"another process of the run has ended ({reason}); start all of them again with "
            "`resume=True`."
        ) from error


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that is replicated on every device of the mesh."""
    return NamedSharding(mesh, PartitionSpec())
