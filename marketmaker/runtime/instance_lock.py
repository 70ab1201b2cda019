"""One process per account and bot tag: the second one refuses to start.

Two processes with one tag would take each other's orders for their own and cancel them. On Linux the claim is a socket
in the abstract namespace, named after venue, account and tag: every user and service of the machine sees it, no
directory is needed, and it is gone the moment the process is, however it ended. Elsewhere it is a locked file in the
directory for temporary files. A process on another machine is not seen; a shared ledger sees it (`ledger.writer`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import struct
import sys
import tempfile

from marketmaker.errors import ConfigError
from marketmaker.model.settings import Credentials

ABSTRACT = sys.platform == "linux"


def account_of(credentials: Credentials) -> str:
    """Names the account without telling its key; "" without credentials."""
    key = credentials.api_key or credentials.api_secret
    return hashlib.sha256(f"marketmaker account {key}".encode()).hexdigest()[:16] if key else ""


class InstanceLock:
    """With the account "" there is nothing to share and nothing is locked."""

    def __init__(self, *, venue: str, account: str, bot_tag: str) -> None:
        self._account = account
        self._name = f"marketmaker/{venue}/{account}/{bot_tag}"
        self._who = f"bot_tag {bot_tag!r} on this account at {venue}"
        self._socket: socket.socket | None = None
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises ConfigError when another process has it, naming its pid where that can be known."""
        if not self._account:
            return
        holder = self._claim_socket() if ABSTRACT else self._claim_file()
        if holder:
            raise ConfigError(
                f"another instance with {self._who} is running ({holder}); stop it, or give this"
                " one its own bot_tag"
            )

    def release(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _claim_socket(self) -> str:
        """ "" once it is ours, or who has it."""
        claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claimed.bind(f"\0{self._name}")
        except OSError:
            claimed.close()
            return holder_of(f"\0{self._name}")
        claimed.listen(1)
        self._socket = claimed
        return ""

    def _claim_file(self) -> str:
        name = hashlib.sha256(self._name.encode()).hexdigest()[:24]
        path = os.path.join(tempfile.gettempdir(), f"marketmaker-{name}.lock")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return path
        self._fd = fd
        return ""


def holder_of(address: str) -> str:
    """The pid of whoever listens there, as the kernel tells it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.settimeout(1.0)
            asking.connect(address)
            size = struct.calcsize("3i")
            peer = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        except OSError:
            return "its pid is not known"
    return f"pid {struct.unpack('3i', peer)[0]}"
