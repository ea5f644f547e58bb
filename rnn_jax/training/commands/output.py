"""Standard output and standard error whose failures do not end the program."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any


class GuardedStream:
    """A text stream that stops writing at the first error, and stores it.

    A character outside the encoding of the stream is written as an escape sequence.

    Attributes:
      error: the error that ended the output, or None.
    """

    def __init__(self, stream: Any, raises: bool = False):
        self._stream, self._raises = stream, raises
        self.error: Exception | None = None

    def write(self, text: str) -> int:
        """Write `text`, or discard it if the stream is closed or has already failed."""
        try:
            self._attempt("write", text)
        except UnicodeEncodeError:
            name = getattr(self._stream, "encoding", None) or "ascii"
            self._attempt("write", text.encode(name, "backslashreplace").decode(name))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, unless the stream is closed or has already failed."""
        self._attempt("flush")

    def isatty(self) -> bool:
        """True if the stream is a terminal and has not failed."""
        try:
            return self._stream is not None and self.error is None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def _attempt(self, name, *args):
        if self._stream is None or self.error is not None:
            return
        try:
            getattr(self._stream, name)(*args)
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError, AttributeError) as error:
            self.error = error
            self._discard()
            if self._raises:
                raise

    def _discard(self):
        """Redirect the descriptor to the null device, since the buffer is flushed again at exit."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name):
        if self.__dict__.get("_stream") is None and name == "encoding":
            return "utf-8"
        return getattr(self.__dict__.get("_stream"), name)


@contextlib.contextmanager
def guarded(*, raises: bool = False) -> Iterator[tuple[GuardedStream, GuardedStream]]:
    """A context in which errors of `sys.stdout` and `sys.stderr` do not end the program.

    Args:
      raises: raise the first error of standard output, for a command that only prints.
    """
    if isinstance(sys.stdout, GuardedStream) and isinstance(sys.stderr, GuardedStream):
        yield sys.stdout, sys.stderr
        return
    streams = GuardedStream(sys.stdout, raises), GuardedStream(sys.stderr)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            yield streams
        finally:
            for stream in streams:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()


def fill_standard_descriptors() -> None:
    """Open the null device for each standard descriptor that is closed.

    Otherwise the next file opened gets this number, and C libraries print into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def failure(*streams: GuardedStream) -> tuple[int, str]:
    """Exit code and message for the streams that failed; 0 and "" if none did."""
    for stream, name in zip(streams, ("standard output", "standard error"), strict=True):
        if isinstance(stream.error, BrokenPipeError):
            return 141, ""
        if stream.error is not None:
            number = getattr(stream.error, "errno", None)
            reason = os.strerror(number) if number else str(stream.error)
            if number == errno.EPIPE:
                return 141, ""
            return 1, f"{name} could not be written ({reason}); everything else was done."
    return 0, ""
