"""The daemon's side of alerts: lines into a pipe that never blocks, and a messenger that is started again when it ends.

`tell` and `beat` take microseconds and cannot fail. What the pipe does not take waits; beyond `MAX_WAITING` lines the
oldest is dropped, counted, and the count told as an alert of its own when the pipe takes lines again.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import structlog

from marketmaker.alerts import wire
from marketmaker.alerts.rules import Alert, is_wanted, rules_of
from marketmaker.errors import ConfigError
from marketmaker.model.action import Severity
from marketmaker.model.settings import AlertSettings
from marketmaker.runtime import log_events

MAX_WAITING = 1_000
OPEN_TIMEOUT_S = 30.0
RESTART_AFTER_S = 30.0
TROUBLES = {
    "failed": log_events.ALERT_FAILED,
    "lost": log_events.ALERT_LOST,
    "hung": log_events.ALERT_CHANNEL_HUNG,
}
NEEDED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")
NETWORK = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PACKAGE_FOLDER = str(Path(__file__).resolve().parents[2])


class Process(Protocol):
    """As much of `subprocess.Popen` as is used."""

    @property
    def stdin(self) -> IO[bytes] | None: ...
    @property
    def stdout(self) -> IO[bytes] | None: ...
    def poll(self) -> int | None: ...


def spawn_messenger(environ: Mapping[str, str]) -> Process:
    """A fresh interpreter that inherits nothing of ours but the pipe: no keys, no sockets, no variables with secrets."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in NEEDED or name in CERTIFICATES or name.lower() in NETWORK
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "marketmaker.alerts.messenger"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={**kept, "PYTHONPATH": PACKAGE_FOLDER},
        start_new_session=True,
    )


class AlertDesk:
    """`sender` is how messages sign themselves. `now_ns` stamps, `monotonic_s` spaces the messenger's restarts."""

    def __init__(
        self,
        settings: AlertSettings,
        *,
        sender: str,
        now_ns: Callable[[], int],
        monotonic_s: Callable[[], float] = time.monotonic,
        spawn: Callable[[], Process] = lambda: spawn_messenger(os.environ),
    ) -> None:
        self.settings = settings
        self.dropped = 0
        self._rules = rules_of(settings) if settings.channels else ()
        self._now_ns = now_ns
        self._monotonic_s = monotonic_s
        self._spawn = spawn
        self._opening = wire.to_line(
            "open", {"settings": wire.settings_to_json(settings), "sender": sender}
        )
        self._process: Process | None = None
        self._started_s = 0.0
        self._lines: deque[bytes] = deque()
        self._current = b""
        self._written = 0
        self._answers = b""
        self._untold = 0
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="alerts"
        )

    def open(self) -> None:
        """Starts the messenger and waits until it knows its channels. Raises ConfigError when it does not."""
        self._start()
        deadline_s = time.monotonic() + OPEN_TIMEOUT_S
        assert self._process is not None and self._process.stdout is not None
        fd = self._process.stdout.fileno()
        while time.monotonic() < deadline_s:
            self.pump()
            if not select.select([fd], [], [], 0.2)[0]:
                continue
            for kind, content in self._read():
                if kind == "opened":
                    return
                if kind == "refused":
                    raise ConfigError(content["why"])
            if self._process.poll() is not None:
                break
        raise ConfigError(
            "alerts: the process that sends them does not start; try `marketmaker alerts test`"
        )

    def wants(self, topic: str, severity: Severity) -> bool:
        return is_wanted(self._rules, topic, severity)

    def tell(self, alert: Alert) -> None:
        if self.wants(alert.topic, alert.severity):
            self._put(wire.to_line("alert", wire.alert_to_json(alert)))

    def beat(self, payload: dict[str, Any]) -> None:
        self._put(wire.to_line("heartbeat", payload))

    def tend(self) -> None:
        """Once a second: write what waits, hear what became of it, start the messenger again when it has ended."""
        for kind, content in self._read():
            if kind in TROUBLES:
                self._log.warning(TROUBLES[kind], **content)
            elif kind == "heartbeat" and content["why"]:
                self._log.warning(log_events.HEARTBEAT_FAILED, **content)
            elif kind == "heartbeat":
                self._log.info(log_events.HEARTBEAT_TAKEN)
            elif kind == "sent":
                self._log.debug(log_events.ALERT_SENT, **content)
        ended = self._process is not None and self._process.poll() is not None
        if ended and self._monotonic_s() - self._started_s >= RESTART_AFTER_S:
            assert self._process is not None
            self._log.error(log_events.MESSENGER_ENDED, code=self._process.poll())
            self._release()
            try:
                self._start()
            except OSError as error:
                self._started_s = self._monotonic_s()
                self._log.error(log_events.MESSENGER_REFUSED, reason=str(error))
        self.pump()

    def pump(self) -> None:
        """Writes as much as the pipe takes."""
        if self._process is None or self._process.stdin is None:
            return
        fd = self._process.stdin.fileno()
        while self._current or self._lines or self._untold:
            if not self._current:
                self._current, self._written = self._next_line(), 0
            try:
                self._written += os.write(fd, self._current[self._written :])
            except (BlockingIOError, BrokenPipeError):
                return
            if self._written == len(self._current):
                self._current = b""

    def close(self) -> None:
        """Says goodbye and lets go; what waits is sent by the messenger, which ends by itself."""
        if self._process is None:
            return
        self._put(wire.to_line("bye", {}))
        self._release()

    def _next_line(self) -> bytes:
        if not self._untold:
            return self._lines.popleft()
        count, self._untold = self._untold, 0
        alert = Alert(
            topic="alerts.dropped",
            severity=Severity.WARNING,
            instrument="",
            message=f"{count} alerts were dropped: the process that sends them took none",
            ts_ns=self._now_ns(),
        )
        return wire.to_line("alert", wire.alert_to_json(alert))

    def _put(self, line: bytes) -> None:
        if len(self._lines) == MAX_WAITING:
            self._lines.popleft()
            self.dropped += 1
            self._untold += 1
        self._lines.append(line)
        self.pump()

    def _start(self) -> None:
        self._process = self._spawn()
        self._started_s = self._monotonic_s()
        self._answers = b""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        if self._current and self._current != self._opening:
            self._lines.appendleft(self._current)
        self._current, self._written = self._opening, 0

    def _release(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if self._process.poll() is None:
            # Not waited for: it may be sending for some seconds more, and the daemon is done.
            forget(self._process)
        self._process = None

    def _read(self) -> list[tuple[str, dict[str, Any]]]:
        """Every whole line that has arrived."""
        if self._process is None or self._process.stdout is None:
            return []
        try:
            while data := os.read(self._process.stdout.fileno(), 1 << 16):
                self._answers += data
        except BlockingIOError:
            pass
        *lines, self._answers = self._answers.split(b"\n")
        return [wire.from_line(line) for line in lines]


def forget(process: Process) -> None:
    """Keeps the interpreter from complaining at its end that a child still runs, which is meant."""
    if isinstance(process, subprocess.Popen):
        process.returncode = 0
