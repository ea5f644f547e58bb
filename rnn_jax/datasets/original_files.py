"""Original files of a data set: verify local copies, and test whether a download is possible."""

import contextlib
import hashlib
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from rnn_jax.errors import InputError

_PROBE_SECONDS = 0.8


def missing_files(registered: Mapping[str, Any], folder: Path) -> list[str]:
    """List the URLs of the files that are not in `folder`.

    Args:
      registered: TFDS records of files by URL, each with a `filename` and SHA-256 `checksum`.
      folder: the folder with manually downloaded or bundled files.

    Raises:
      InputError: a file in the folder is damaged.
    """
    missing = []
    for url, expected in registered.items():
        path = folder / (expected.filename or "")
        if not path.is_file():
            missing.append(url)
        elif (found := hashlib.sha256(path.read_bytes()).hexdigest()) != expected.checksum:
            raise InputError(
                f"{path} is damaged: expected SHA-256 {expected.checksum}, got {found}; "
                "replace it by the original file."
            )
    return missing


def is_reachable(url: str) -> bool:
    """Return whether the host of a URL, or its proxy, accepts a connection promptly.

    Without this test, TFDS retries for minutes when there is no network.
    """
    target = urlsplit(url)
    proxy = getproxies().get(target.scheme)
    if proxy and not proxy_bypass(target.hostname or ""):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    address = target.hostname, target.port or {"https": 443, "ftp": 21}.get(target.scheme, 80)
    connected = threading.Event()

    def connect():
        with contextlib.suppress(OSError):
            socket.create_connection(address, timeout=_PROBE_SECONDS / 2).close()
            connected.set()

    # Use a thread, because name resolution has no timeout. Each address of the host gets half the
    # time, so that an unresponsive IPv6 address leaves time for IPv4.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return connected.is_set()
