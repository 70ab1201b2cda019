"""Tells systemd how we are (sd_notify): one datagram per message, nothing at all without `NOTIFY_SOCKET`."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

MICROSECONDS = 1_000_000


class Notifier:
    """`watchdog_interval_s` is how often `watchdog` should be called, half of what systemd allows; None: not asked.

    A message that cannot be delivered is dropped: systemd's patience is a poor reason to stop trading.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ names a socket in the abstract namespace, whose address begins with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""
        self.watchdog_interval_s = watchdog_interval_s(environ)

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it changes."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + " ".join(text.splitlines()))

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """To be followed by `ready`."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), notify_socket() as sock:
            sock.sendto(message.encode("utf-8", "replace"), self._address)


def notify_socket() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    return sock


def watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """None as well when the variables were meant for another process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()) or not int(text):
        return None
    return int(text) / MICROSECONDS / 2
