"""Connections between processes, and processes started with different options."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from repository import ROOT

from rnn_jax import InputError, RunError
from rnn_jax.training.devices.rendezvous import meet, parse_address
from rnn_jax.training.devices.sharding import start_devices


@pytest.fixture
def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def meeting(address, *processes, seconds=20.0):
    """The error of each process, given as (count, number), or None."""

    def attempt(process):
        try:
            meet(address, *process, seconds)
        except (InputError, RunError) as error:
            return error
        return None

    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(attempt, processes))


@pytest.mark.parametrize("count", [2, 3])
def test_processes_connect_in_any_order(address, count):
    numbers = range(count)
    for order in (numbers, reversed(numbers)):
        assert meeting(address, *((count, number) for number in order)) == [None] * count


@pytest.mark.parametrize(
    "processes, words",
    [
        ([(3, 0), (3, 1), (3, 1)], "two processes were started with `process_id` 1"),
        ([(2, 0), (3, 1)], "`num_processes` 3 and process 0 with 2"),
        ([(2, 0), (3, 2)], "`num_processes` 3 and process 0 with 2"),
    ],
)
def test_every_process_names_inconsistent_options(address, processes, words):
    for error in meeting(address, *processes):
        assert isinstance(error, InputError)
        assert words in str(error)


@pytest.mark.parametrize(
    "processes, words",
    [
        ([(2, 1)], "did not find process 0"),
        ([(2, 0)], "process 1 of 2 did not arrive"),
        ([(4, 0), (4, 2)], "process 1, 3 of 4 did not arrive"),
    ],
)
def test_missing_processes_are_named_after_the_timeout(address, processes, words):
    first, *others = meeting(address, *processes, seconds=1.0)
    assert isinstance(first, RunError)
    assert words in str(first) and address in str(first) and "within 1 s" in str(first)
    assert all(isinstance(error, RunError) for error in others)


def test_a_second_process_0_is_an_error_for_the_used_port(address):
    errors = meeting(address, (2, 0), (2, 0), seconds=2.0)
    assert any("another `process_id`" in str(error) for error in errors)


def test_another_server_at_the_port_is_detected():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (error,) = meeting(address, (2, 1), seconds=1.0)
    assert "did not find process 0" in str(error)


@pytest.mark.parametrize(
    "text", ["nonsense", "host:", ":80", "host:port", "host:0", "host:65536", "127.0.0.1:-1", "a:²"]
)
def test_an_address_without_host_and_port_is_an_error(text):
    with pytest.raises(InputError, match="must be host:port"):
        parse_address(text)


def test_ipv6_addresses_work_and_unknown_hosts_are_errors():
    assert parse_address("[::1]:80") == ("::1", 80)
    with pytest.raises(InputError, match="is unknown"):
        parse_address("no-such-host.invalid:80")


@pytest.mark.parametrize(
    "options, words",
    [
        (("127.0.0.1:1", 0, 0), "`num_processes` must be at least 1"),
        (("127.0.0.1:1", 2, 2), "`process_id` must be from 0 to 1"),
        (("127.0.0.1:1", 2, -1), "`process_id` must be from 0 to 1"),
        (("", 2, 0), "need a `coordinator`"),
    ],
)
def test_options_of_processes_are_checked_before_anything_starts(options, words):
    with pytest.raises(InputError, match=words):
        start_devices(0, *options)


SMALL = (
    *("--hidden-size", "4", "--batch-size", "8", "--windows", "4", "--window", "5"),
    *("--devices", "2", "--num-processes", "2", "--log-every", "20"),
)


def together(tmp_path, address, *changes, shared="run"):
    """Exit codes and standard errors of two processes with separate options."""
    started = []
    for number, options in enumerate(changes):
        command = [sys.executable, str(ROOT / "experiments/sine_regression.py"), *SMALL]
        command += ["--coordinator", address, "--process-id", str(number), *options]
        folder = tmp_path / (shared if isinstance(shared, str) else shared[number])
        folder.mkdir(exist_ok=True)
        started.append(
            subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        errors = [process.communicate(timeout=240)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], errors


def test_processes_name_the_settings_that_differ(tmp_path, address):
    changes = ["--learning-rate", "0.5", "--steps", "7", "--seed", "3"]
    codes, errors = together(tmp_path, address, [], changes)
    assert codes == [2, 2], errors
    for error in errors:
        (line,) = error.strip().splitlines()
        assert "process 1 differs from process 0" in line
        for words in ("learning_rate 0.5, not 0.003", "steps 7, not 4000", "seed 3, not 0"):
            assert words in line


def test_a_process_without_the_run_folder_is_an_error(tmp_path, address):
    job = ["--steps", "20", "--out-dir", "out"]
    codes, errors = together(tmp_path, address, job, job)
    assert codes == [0, 0], errors
    job += ["--resume"]
    codes, errors = together(tmp_path, address, job, job, shared=("run", "elsewhere"))
    assert codes == [1, 1], errors
    for error in errors:
        assert "process 1 differs from process 0: files in out" in error
        assert "Traceback" not in error
