"""Locks of folders. The kernel releases a lock when its process ends or is killed."""

import contextlib
import errno
import os
import socket
import warnings
from pathlib import Path

from rnn_jax.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: folders are not locked.
    fcntl = None

LOCK = ".lock"
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of file systems that do not support locks, such as some network file systems."""
ATTEMPTS = 100


class InUse(InputError):
    """Another process holds the lock of a folder."""


class FolderLock:
    """A lock on a folder, from construction until `release` or the end of the process.

    The folder and its parents are created if needed. The open file `.lock` is locked; its mere
    existence means nothing, so a file left by a dead process does not block.

    Attributes:
      created: whether the folder did not exist before.

    Raises:
      InUse: another process holds the lock.
      InputError: the folder cannot be created or written.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.created = not os.path.lexists(folder)
            self._file = self._acquire()
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"the folder {str(folder)!r} cannot be written ({reason}); give another `out_dir`."
            ) from error

    def release(self) -> None:
        """Release the lock; remove the folder if it was created here and is empty."""
        if self._file.closed:
            return
        with contextlib.suppress(OSError):  # Cleanup only.
            if self._is_current():
                (self.folder / LOCK).unlink()
                if self.created and not os.listdir(self.folder):
                    self.folder.rmdir()
        self._file.close()

    def _acquire(self):
        for _ in range(ATTEMPTS):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._file = open(self.folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115
            except FileNotFoundError:  # Another process has just removed the empty folder.
                continue
            try:
                _lock(self._file, self.folder)
            except BaseException:
                self._file.close()
                raise
            if self._is_current():
                _write_holder(self._file)
                return self._file
            self._file.close()  # The file was removed or renamed before it was locked.
        raise InUse(f"{self.folder} cannot be locked: other processes keep removing it; try again.")

    def _is_current(self):
        try:
            found = os.stat(self.folder / LOCK)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self._file.fileno()))


def _lock(file, folder):
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            warnings.warn(
                f"the file system of {folder} does not support locks ({error.strerror}); "
                "make sure that no other process writes there.",
                stacklevel=2,
            )
            return
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        raise InUse(
            f"{folder} is in use by {holder}; wait until it has ended, or give another `out_dir`."
        ) from error


def _write_holder(file):
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    except OSError:  # Only the error message of another process needs it.
        pass
