"""Devices: CPU cores, GPUs and TPUs as one mesh axis, `data`, over which a batch is split."""

import os

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rnn_jax.errors import InputError


def start_devices(devices: int = 0) -> None:
    """Let JAX see each CPU core as a device, and at least `devices` of them.

    Call it before anything else of JAX: once JAX has started, its number of devices is fixed and
    this changes nothing. On GPUs and TPUs it has no effect.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        jax.config.update("jax_num_cpu_devices", max(devices, cores or 1))
    except RuntimeError:
        return


def data_mesh(batch_size: int, devices: int = 0) -> Mesh:
    """A mesh with the one axis `data`, over which batches of `batch_size` divide evenly.

    Args:
      batch_size: examples in a batch.
      devices: how many devices to take; 0 takes the most there are that divide the batch.

    Raises:
      InputError: fewer devices than asked for, or a number that does not divide the batch.
    """
    available = jax.devices()
    if devices < 0 or devices > len(available):
        raise InputError(
            f"devices must be 0 (as many as divide the batch) to {len(available)}, "
            f"the number JAX sees here; got {devices}."
        )
    if not devices:
        devices = max(n for n in range(1, len(available) + 1) if batch_size % n == 0)
    if batch_size % devices:
        below = batch_size // devices * devices
        nearest = " or ".join(str(n) for n in (below, below + devices) if n)
        raise InputError(
            f"a batch of {batch_size} does not divide over {devices} devices; "
            f"take a batch of {nearest}, or devices=0 for the most that divide it."
        )
    return jax.make_mesh(
        (devices,), ("data",), axis_types=(AxisType.Auto,), devices=available[:devices]
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device of the mesh holds whole."""
    return NamedSharding(mesh, PartitionSpec())
