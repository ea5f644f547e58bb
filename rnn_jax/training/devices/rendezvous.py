"""Rendezvous of the processes of a run before JAX starts.

JAX aborts a process whose peers are missing; this module raises a clear exception instead.
"""

import json
import socket
import time
from typing import Any

from rnn_jax.errors import InputError, RunError

SECONDS = 30.0
"""Default time to wait for the other processes, in seconds."""
_RETRY = 0.2


def parse_address(coordinator: str) -> tuple[str, int]:
    """Parse "host:port" or "[host]:port".

    Raises:
      InputError: the address has another format, or the host is unknown.
    """
    host, colon, port = coordinator.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise InputError(
            f"`coordinator` must be host:port with a port from 1 to 65535, or auto; "
            f"got {coordinator!r}."
        )
    try:
        socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"the host of `coordinator` {coordinator} is unknown ({reason}); "
            "give the name or address of the machine of process 0."
        ) from error
    return host, int(port)


def meet(coordinator: str, count: int, number: int, seconds: float = SECONDS) -> None:
    """Wait until all of `count` processes have called this function.

    Process 0 listens at the coordinator's port and frees it before this returns.

    Raises:
      InputError: the address is not valid, or two processes were started with the same number or
        with different counts.
      RunError: not all of them arrived within `seconds`.
    """
    address = parse_address(coordinator)
    if count == 1:
        return
    deadline = time.monotonic() + seconds
    if number:
        _arrive(address, coordinator, count, number, deadline, seconds)
    else:
        _receive(address[1], coordinator, count, deadline, seconds)


def _receive(port, coordinator, count, deadline, seconds):
    """Wait for the processes 1 to `count` - 1, and send each of them the result."""
    arrived: dict[int, socket.socket] = {}
    problem = ""
    with _listener(port, coordinator) as listener:
        while len(arrived) < count - 1 and not problem:
            listener.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                break
            greeting = _read(connection, min(deadline, time.monotonic() + 2))
            if greeting is None:
                connection.close()
                continue
            number, other = greeting
            if other != count:
                problem = (
                    f"process {number} was started with `num_processes` {other} and process 0 "
                    f"with {count}; start all with the same number."
                )
            elif number in arrived or not 0 < number < count:
                problem = (
                    f"two processes were started with `process_id` {number}; "
                    f"give each of the {count} a different one, from 0 to {count - 1}."
                )
            arrived[number if number not in arrived else -1] = connection
        for connection in arrived.values():
            _send(connection, {"problem": problem, "ready": len(arrived) == count - 1})
        # The side that closes a connection first cannot reuse the port for a while.
        for connection in arrived.values():
            _read(connection, time.monotonic() + 1)
            connection.close()
    if problem:
        raise InputError(problem)
    missing = sorted(set(range(1, count)) - set(arrived))
    if missing:
        names = ", ".join(str(number) for number in missing[:10])
        raise RunError(
            f"process {names} of {count} did not arrive at {coordinator} within {seconds:g} s; "
            "start all of them with the same `coordinator`, or give a longer `start_timeout`."
        )


def _arrive(address, coordinator, count, number, deadline, seconds):
    """Connect to process 0, and retry until it answers."""
    answer = None
    while answer is None and (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(address, timeout=left) as connection:
                _send(connection, {"number": number, "count": count})
                answer = _answer(connection, deadline + 2)
        except OSError:
            pass
        if answer is None:
            time.sleep(_RETRY)
    if answer and answer.get("problem"):
        raise InputError(answer["problem"])
    if not (answer and answer.get("ready")):
        who = "the other processes" if answer else "process 0"
        raise RunError(
            f"process {number} of {count} did not find {who} at {coordinator} within "
            f"{seconds:g} s; start all of them with the same `coordinator`, or give a longer "
            "`start_timeout`."
        )


def _listener(port, coordinator):
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise InputError(
            f"process 0 cannot listen at {coordinator} ({error.strerror}); if another process 0 "
            "runs, give this one another `process_id`, otherwise choose another port."
        ) from error


def _read(connection, deadline):
    """Number and count that a process sent, or None."""
    found: Any = _answer(connection, deadline)
    try:
        return int(found["number"]), int(found["count"])
    except (TypeError, KeyError, ValueError):
        return None


def _answer(connection, deadline):
    """Receive a line of JSON; None for anything else."""
    line = b""
    try:
        while not line.endswith(b"\n"):
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(4096)
            line += part
            if not part or len(line) > 4096:
                return None
        found = json.loads(line)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _send(connection, facts):
    try:
        connection.settimeout(2)
        connection.sendall(json.dumps(facts).encode() + b"\n")
    except OSError:
        pass  # The others notice a process that has ended when they start JAX.
