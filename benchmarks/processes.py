"""Implementations of one run: rnn_jax, and the peers that are available."""

import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from peers import PEERS
from worker import Absent, Worker

from rnn_jax.errors import InputError
from rnn_jax.training.runs.provenance import command, cores


class Implementation(NamedTuple):
    """One line of a table.

    Attributes:
      name: the library (for rnn_jax, with the driver); several names can share a process.
      devices: number of devices that share a batch. PyTorch uses all cores as one device.
      worker: the process that runs it.
      options: arguments of its process in addition to the sizes.
      facts: its library and its versions of JAX and Python, as columns of a row.
      ours: whether it is rnn_jax.
    """

    name: str
    devices: int
    worker: Worker
    options: dict
    facts: dict
    ours: bool

    @property
    def label(self) -> str:
        """The name, with the number of devices if there are several."""
        return self.name + (f" x{self.devices}" if self.devices > 1 else "")


class Team:
    """All implementations of a run, each in its own process; a context manager that ends them.

    Args:
      device: cpu, gpu or tpu.
      drivers: drivers of rnn_jax to measure.
      devices: devices in addition to one; 0 for the largest number that divides the batch.
      peers: names in PEERS.
      pythons: interpreters of peers in other environments.

    Attributes:
      facts: the `provenance` of its first process.
      absent: reasons why peers are not measured, by label.

    Raises:
      InputError: rnn_jax does not run on this device.
    """

    def __init__(
        self,
        device: str,
        drivers: Sequence[str],
        devices: int,
        peers: Sequence[str],
        pythons: Mapping[str, str],
    ):
        self.device, self.drivers = device, drivers
        self.absent, self._peers = {}, []
        runs = {name: pythons.get(name, sys.executable) for name in peers}
        for name in [name for name in runs if device not in PEERS[name].devices]:
            self.absent[PEERS[name].label] = f"not for --device {device}"
            del runs[name]
        counts = (1,) if devices == 1 or (devices or cores()) == 1 else (1, max(devices, cores()))
        self._chosen = devices
        self._ours = [Worker("rnn_jax", device, devices=n) for n in counts]
        workers = {
            name: [Worker(name, device, python, n) for n in counts[: 1 + PEERS[name].is_jax]]
            for name, python in runs.items()
        }
        self._all = [*self._ours, *itertools.chain(*workers.values())]
        try:
            started = [worker.receive() for worker in self._ours]
        except Absent as reason:
            self.close()
            # For a missing device JAX may raise an AssertionError without a message.
            why = str(reason).removeprefix("failed: ").removesuffix("AssertionError: ").rstrip(". ")
            raise InputError(
                f"rnn_jax cannot run with --device {device}{f' ({why})' if why else ''}; check "
                "that the device exists and JAX is installed for it, or use --device cpu."
            ) from reason
        except BaseException:
            self.close()
            raise
        self.facts = started[0]["facts"] | {"command": command()}
        self._available = started[-1]["devices"] if len(counts) > 1 else 1
        if devices > self._available:
            self.close()
            raise InputError(
                f"--devices {devices} is more than the {self._available} devices of this machine."
            )
        for name, of_peer in workers.items():
            label = PEERS[name].label
            try:
                self._peers.append((label, [(worker, worker.receive()) for worker in of_peer]))
            except Absent as reason:
                self.absent[label] = str(reason)

    def members(self, batch_size: int) -> list[Implementation]:
        """All implementations for this batch size, rnn_jax on one device first."""
        counts = [1]
        if (most := self._devices(batch_size)) > 1:
            counts.append(most)
        facts = {"library": "rnn_jax", "jax": self.facts["jax"], "python": self.facts["python"]}
        ours = [
            Implementation(
                f"rnn_jax {driver}",
                count,
                worker,
                {"driver": driver, "devices": count},
                facts,
                ours=True,
            )
            for count, worker in zip(counts, self._ours, strict=False)
            for driver in self.drivers
        ]
        return ours + [
            Implementation(label, count, worker, {"devices": count}, facts, ours=False)
            for label, processes in self._peers
            for count, (worker, facts) in zip(counts, processes, strict=False)
        ]

    def _devices(self, batch_size):
        if self._chosen:
            return self._chosen
        fitting = [n for n in range(1, self._available + 1) if batch_size % n == 0]
        return fitting[-1]

    @property
    def first(self) -> Worker:
        """The process of rnn_jax on one device, which also measures the matrix product."""
        return self._ours[0]

    def clear(self) -> None:
        """Delete the compiled functions in every process."""
        alive = [worker for _, processes in self._peers for worker, _ in processes]
        for worker in [*self._ours, *alive]:
            worker.ask(do="clear")

    def close(self) -> None:
        """End all processes."""
        for worker in self._all:
            worker.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
