"""What systemd hears from us, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketmaker.runtime.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"notify-{os.getpid()}"
        sock.bind(str(tmp_path / name) if request.param == "path" else f"\0{name}")
        sock.setblocking(False)
        yield sock


def address(sock: socket.socket) -> str:
    name = sock.getsockname()
    return f"@{name[1:].decode()}" if isinstance(name, bytes) else str(name)


def heard(sock: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(sock.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_each_call_is_one_datagram(systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address(systemd)})
    notifier.status("reconciling")
    notifier.ready()
    notifier.watchdog()
    notifier.watchdog()
    notifier.stopping()
    assert heard(systemd) == [
        "STATUS=reconciling",
        "READY=1",
        "WATCHDOG=1",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_reloading_carries_the_time_systemd_asks_for(systemd: socket.socket) -> None:
    Notifier({"NOTIFY_SOCKET": address(systemd)}).reloading()
    [message] = heard(systemd)
    first, second = message.split("\n")
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=") and second.partition("=")[2].isdigit()


def test_a_status_is_one_line_and_sent_only_when_it_changes(systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address(systemd)})
    for text in ("quoting", "quoting", "paused\nREADY=1", "quoting"):
        notifier.status(text)
    assert heard(systemd) == ["STATUS=quoting", "STATUS=paused READY=1", "STATUS=quoting"]


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.ready()
    notifier.watchdog()
    notifier.status("x")
    notifier.stopping()
    assert notifier.watchdog_interval_s is None


@pytest.mark.parametrize("name", ["gone", "x" * 200])
def test_a_socket_that_does_not_answer_is_no_reason_to_stop(tmp_path: Path, name: str) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / name)}).ready()


def test_a_full_socket_does_not_block(systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address(systemd)})
    for _ in range(5000):
        notifier.watchdog()
    assert 0 < len(heard(systemd)) < 5000


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_to_be_fed_twice_as_often_as_systemd_asks(
    environ: dict[str, str], interval_s: float | None
) -> None:
    assert Notifier(environ).watchdog_interval_s == interval_s
