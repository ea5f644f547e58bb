"""Exclusive use of a folder. The kernel releases it when the process ends, however it ends."""

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
"""Errors of file systems without locks, as some network file systems are."""
ATTEMPTS = 100


class InUse(InputError):
    """Another process holds the lock of a folder."""


class FolderLock:
    """The lock of a folder, held from construction until `release` or the end of the process.

    The folder and its parents are created if needed. The lock is on the open file `.lock`, not on
    the existence of that file, so a file left over from a dead process holds nothing.

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
        """Give the folder back; remove it if it was created here and nothing was put in."""
        if self._file.closed:
            return
        with contextlib.suppress(OSError):  # Only tidying: what cannot be removed stays.
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
            except FileNotFoundError:  # Removed since by a process that left it empty.
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
        raise InUse(f"{self.folder} is created and removed by other processes again and again.")

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
                f"the file system of {folder} has no locks ({error.strerror}); "
                "take care that no other process writes there.",
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
    except OSError:  # It only serves the message of another process.
        pass
