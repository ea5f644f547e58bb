"""The first signal requests a stop, and the second ends the process."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from rnn_jax.training.commands.signals import SIGNALS, interruptible, requests


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_recorded_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with requests() as request:
        assert request.signal == 0
        os.kill(os.getpid(), number)
        assert request.signal == number
    assert signal.getsignal(number) is before


def test_a_signal_is_handled_while_waiting_for_work():
    with requests() as request:
        heard = []

        def work():
            os.kill(os.getpid(), signal.SIGTERM)
            deadline = time.monotonic() + 10
            while not request.signal and time.monotonic() < deadline:
                time.sleep(0.01)
            heard.append(request.signal)

        interruptible(work)
    assert heard == [signal.SIGTERM]


def test_an_error_in_the_work_reaches_its_caller():
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0)


def test_other_threads_install_no_signal_handlers():
    seen = []

    def elsewhere():
        with requests():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


def test_an_ignored_signal_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with requests() as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert request.signal == 0
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_notice_may_be_repeated_and_a_stop_may_follow_it(number):
    with requests() as request:
        for each in (number, number, signal.SIGTERM):
            os.kill(os.getpid(), each)
        assert request.signal == number


def test_a_request_is_recorded_if_standard_error_is_broken():
    code = """
import os, signal
from rnn_jax.training.commands.signals import requests
read, write = os.pipe()
os.close(read)
os.dup2(write, 2)
with requests() as request:
    os.kill(os.getpid(), signal.SIGINT)
    print(request.signal)
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) == signal.SIGINT


TWICE = """
import time
from rnn_jax.training.commands.signals import interruptible, requests
with requests():
    print("ready", flush=True)
    interruptible(time.sleep, 60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_the_process_at_once(number):
    process = subprocess.Popen(
        [sys.executable, "-c", TWICE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(number)
    assert (
        "a second signal ends the process" in process.stderr.readline() + process.stderr.readline()
    )
    process.send_signal(number)
    assert process.wait(timeout=20) == -number
