"""Implementations of one run: rnn_jax, and the peers that are available."""

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
      label: its name; several labels can share a process.
      worker: the process that runs it.
      options: arguments of its process besides the sizes.
      facts: its library and its versions of JAX and Python, as columns of a row.
      ours: whether it is rnn_jax.
    """

    label: str
    worker: Worker
    options: dict
    facts: dict
    ours: bool


class Team:
    """All implementations of a run, each in its process; a context that ends them.

    Args:
      device: cpu, gpu or tpu.
      drivers: drivers of rnn_jax to measure.
      devices: number of devices to measure besides one; 0 takes the most that divide the batch.
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
        many = devices != 1 and not (device == "cpu" and devices == 0 and cores() == 1)
        self._asked = devices
        self._ours = [Worker("rnn_jax", device, devices=n) for n in (1, devices)[: 1 + many]]
        workers = {name: Worker(name, device, python) for name, python in runs.items()}
        self._all = [*self._ours, *workers.values()]
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
        self._available = started[-1]["devices"] if many else 1
        if devices > self._available:
            self.close()
            raise InputError(
                f"--devices {devices} is more than the {self._available} devices of this machine."
            )
        for name, worker in workers.items():
            label = PEERS[name].label
            try:
                self._peers.append(Implementation(label, worker, {}, worker.receive(), ours=False))
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
                f"rnn_jax {driver}" + (f" x{count}" if count > 1 else ""),
                self._ours[count > 1],
                {"driver": driver, "devices": count},
                facts,
                ours=True,
            )
            for count in counts
            for driver in self.drivers
        ]
        return ours + self._peers

    def _devices(self, batch_size):
        if self._asked:
            return self._asked
        fitting = [n for n in range(1, self._available + 1) if batch_size % n == 0]
        return fitting[-1]

    @property
    def first(self) -> Worker:
        """The process of rnn_jax on one device, which also measures the matrix product."""
        return self._ours[0]

    def clear(self) -> None:
        """Delete the compiled functions in every process."""
        for worker in [*self._ours, *(peer.worker for peer in self._peers)]:
            worker.ask(do="clear")

    def close(self) -> None:
        """End all processes."""
        for worker in self._all:
            worker.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
