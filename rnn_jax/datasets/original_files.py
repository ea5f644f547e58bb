"""The original files of a data set: whether they are present and whole, or can be downloaded."""

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
    """The addresses of the files that are not in `folder`.

    Args:
      registered: for each address, TFDS's record of the file: its `filename` and sha256 `checksum`.
      folder: where originals were put by hand, or came with the repository.

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
                f"{path} is damaged: expected sha256 {expected.checksum}, found {found}; "
                "put the original file back."
            )
    return missing


def reachable(url: str) -> bool:
    """Whether the host of a URL, or the proxy that leads to it, takes a connection promptly.

    TFDS itself tries for minutes to reach a network that is not there.
    """
    target = urlsplit(url)
    proxy = getproxies().get(target.scheme)
    if proxy and not proxy_bypass(target.hostname):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    address = target.hostname, target.port or {"https": 443, "ftp": 21}.get(target.scheme, 80)
    connected = threading.Event()

    def connect():
        with contextlib.suppress(OSError):
            socket.create_connection(address, timeout=_PROBE_SECONDS / 2).close()
            connected.set()

    # A thread, because looking up a name knows no timeout. Half of the time for each address of the
    # host, so that an IPv6 address that swallows packets leaves time for the IPv4 one.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return connected.is_set()
