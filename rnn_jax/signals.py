"""SIGINT and SIGTERM as requests: the work at hand is finished, what there is gets saved."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Request:
    """What was asked for so far.

    Attributes:
      signal: the number of the signal that came, or 0.
    """

    signal = 0


@contextlib.contextmanager
def requests() -> Iterator[Request]:
    """Within, the first SIGINT or SIGTERM is only noted; a second one ends the process at once.

    Signals go to the main thread; in any other this changes nothing.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    # A signal that is ignored, as SIGINT in a shell's background jobs, stays ignored.
    heard = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]

    def note(number, frame):
        del frame
        request.signal = number
        for each in heard:
            signal.signal(each, signal.SIG_DFL)
        os.write(2, b"\nfinishing the current steps and saving; once more ends it at once.\n")

    before = [signal.signal(each, note) for each in heard]
    try:
        yield request
    finally:
        for each, handler in zip(heard, before, strict=True):
            signal.signal(each, handler)


def interruptible(function: Callable, *args: object) -> object:
    """`function(*args)` in a thread of its own, so that this one hears signals meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()
