"""Signals that end a program: during training as requests, otherwise as exceptions."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rnn_jax.errors import Stopped

URGENT = signal.SIGINT, signal.SIGTERM
"""Signals that end the process immediately when repeated."""
SIGNALS = URGENT + tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
"""Requests to end: Ctrl-C, a scheduler, a closed terminal, a preemption notice."""


class Request:
    """The signal that was received.

    Attributes:
      signal: the number of the first signal, or 0.
    """

    signal = 0


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """A context that records the first signal; a second SIGINT or SIGTERM ends the process.

    A repeated SIGHUP or SIGUSR1 has no effect, since a terminal that closes sends several. Python
    delivers signals to the main thread; in other threads this context does nothing.
    """
    request = Request()

    def note(number, frame):
        del frame
        first = not request.signal
        request.signal = request.signal or number
        if number in URGENT:
            for each in URGENT:
                if signal.getsignal(each) is not signal.SIG_IGN:
                    signal.signal(each, signal.SIG_DFL)
        if first:
            _say(b"\nfinishing the current steps and saving; a second signal ends the process.\n")

    with _handled(note):
        yield request


@contextlib.contextmanager
def exceptions() -> Iterator[Request]:
    """A context in which the first signal raises `Stopped`; a second one ends the process.

    The signal is also recorded, since code that catches every exception may discard this one.
    """
    request = Request()

    def interrupt(number, frame):
        del frame
        if request.signal:
            os._exit(128 + number)
        request.signal = number
        raise Stopped(number, described(number))

    with _handled(interrupt):
        yield request


def reinstall() -> None:
    """Restore Python's handlers after a library has replaced them."""
    if threading.current_thread() is threading.main_thread():
        for each in SIGNALS:
            if (handler := signal.getsignal(each)) is not None:
                signal.signal(each, handler)


def described(number: int) -> str:
    """The message for a command ended by a signal."""
    if number == signal.SIGINT:
        return "interrupted."
    return f"stopped by {signal.Signals(number).name}."


def interruptible(function: Callable, *args: object) -> Any:
    """Call `function(*args)` in another thread, so that this thread can receive signals.

    An exception raised by a signal does not wait for the function.
    """
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(function, *args).result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _handled(handler):
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Keep ignoring ignored signals: SIGINT in a background job of a shell, SIGHUP under nohup.
    heard = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    before = [signal.signal(each, handler) for each in heard]
    try:
        yield
    finally:
        for each, old in zip(heard, before, strict=True):
            signal.signal(each, signal.SIG_DFL if old is None else old)


def _say(message):
    """Write to standard error from a signal handler, which must not raise or wait for a lock."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            os.write(2, message)
