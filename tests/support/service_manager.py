"""A service manager's side of sd_notify, over a real datagram socket, and the units as they are written."""

from __future__ import annotations

import configparser
import socket
import threading
import time
from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "systemd"
INSTALLED = "/opt/marketmaker/.venv/bin/marketmaker"
WATCHDOG_S = 1.0


class ServiceManager:
    """Writes down every datagram with the time it came, Unix ns."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.heard: list[tuple[int, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def environment(self) -> dict[str, str]:
        return {
            "NOTIFY_SOCKET": str(self.path),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1_000_000)),
        }

    def times(self, message: str) -> list[int]:
        return [at_ns for at_ns, text in self.heard if text == message]

    def wait_for(self, message: str, timeout_s: float = 30.0) -> int:
        deadline = time.monotonic() + timeout_s
        while not (times := self.times(message)):
            assert time.monotonic() < deadline, f"no {message} in {timeout_s} s: {self.heard}"
            time.sleep(0.005)
        return times[0]

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while data := self._socket.recv(4096):
            self.heard.append((time.time_ns(), data.decode()))


def unit_settings(name: str) -> dict[str, str]:
    """Section.Key to value; of a key that is given twice the last."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / name)
    return {
        f"{section}.{key}": value
        for section in parser.sections()
        for key, value in parser.items(section)
    }
