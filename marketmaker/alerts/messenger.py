"""The process that talks to chats, mail servers and webhooks, so that the daemon does not have to.

It reads lines from standard input (`wire`), has one thread for each channel and one for the heartbeat, and ends when
the input does: `bye` first is a daemon that stopped in order, no `bye` is one that died, and the channels are told so.
What then still waits is tried once, for `GRACE_S` at most.

A send that fails is tried again after `RETRY_S`, then given up and counted. One that neither ends nor fails for
`HUNG_S` cannot be interrupted: the process ends, and the daemon starts another.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from marketmaker.alerts import wire
from marketmaker.alerts.post import post
from marketmaker.alerts.rules import Alert, Digest, Message, body, rules_for, title
from marketmaker.errors import ConfigError
from marketmaker.give_way import give_way
from marketmaker.model.action import Severity
from marketmaker.model.settings import AlertSettings, HeartbeatSettings
from marketmaker.no_dumps import forbid_core_dumps

GRACE_S = 12.0
"""apprise keeps 5.5 s between two messages to one service, so the last one may have to wait for that."""
RETRY_S = (5.0, 30.0, 120.0)
HUNG_S = 120.0
WATCH_INTERVAL_S = 1.0
HUNG_CODE = 70
PRIORITY = 10
"""Lower than trading's, which it must not take the processor from."""
DIED = "the daemon is gone without having stopped in order; its orders may still be open"

Report = Callable[[str, dict[str, Any]], None]


@dataclass(slots=True)
class Busy:
    """Since when something is being sent, on the monotonic clock; None while nothing is."""

    since_s: float | None = None


class Channel:
    """One channel's digest and the thread that empties it."""

    def __init__(
        self,
        name: str,
        send: Callable[[str, str, Severity], str],
        digest: Digest,
        sender: str,
        report: Report,
    ) -> None:
        self.name = name
        self.busy = Busy()
        self._send = send
        self._digest = digest
        self._sender = sender
        self._report = report
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, alert: Alert) -> None:
        with self._changed:
            self._digest.add(alert, time.monotonic())
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self, timeout_s: float) -> None:
        self._thread.join(max(timeout_s, 0.0))

    def _run(self) -> None:
        while True:
            with self._changed:
                message = self._digest.due(time.monotonic(), everything=self._closing)
                while message is None and not self._closing:
                    next_s = self._digest.next_s()
                    wait_s = None if next_s is None else max(next_s - time.monotonic(), 0.0)
                    self._changed.wait(wait_s)
                    message = self._digest.due(time.monotonic(), everything=self._closing)
                if message is None:
                    return
            self._deliver(message)

    def _deliver(self, message: Message) -> None:
        why = self._try(message)
        for delay_s in RETRY_S:
            if not why:
                break
            self._report("failed", {"channel": self.name, "why": why})
            with self._changed:
                self._changed.wait_for(lambda: self._closing, delay_s)
                if self._closing:
                    break
            why = self._try(message)
        if why:
            self._digest.note_lost(len(message.entries))
            self._report("lost", {"channel": self.name, "alerts": len(message.entries), "why": why})
        else:
            self._report("sent", {"channel": self.name, "alerts": len(message.entries)})

    def _try(self, message: Message) -> str:
        self.busy.since_s = time.monotonic()
        try:
            return self._send(title(message, self._sender), body(message), message.severity)
        except (
            Exception
        ) as error:  # a library with a hundred services: whatever it raises is a failed send
            return f"{type(error).__name__}: {error}"
        finally:
            self.busy.since_s = None


class Heartbeat:
    """Posts the newest payload. One that was overtaken by the next is not sent: only fresh news is a sign of life."""

    def __init__(self, settings: HeartbeatSettings, report: Report) -> None:
        self.busy = Busy()
        self._settings = settings
        self._report = report
        self._newest: dict[str, Any] | None = None
        self._changed = threading.Condition()
        self._failed = False
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def beat(self, payload: dict[str, Any]) -> None:
        with self._changed:
            self._newest = payload
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._newest is None:
                    self._changed.wait()
                payload, self._newest = self._newest, None
            url = self._settings.url
            if not payload["quoting"] and self._settings.url_not_quoting:
                url = self._settings.url_not_quoting
            self.busy.since_s = time.monotonic()
            why, _ = post(url, payload)
            self.busy.since_s = None
            if why or self._failed:
                self._report("heartbeat", {"why": why})
            self._failed = bool(why)


class Reports:
    """Lines to the daemon. One that does not fit into the pipe is dropped: the daemon reads when it can."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        os.set_blocking(fd, False)

    def __call__(self, kind: str, content: dict[str, Any]) -> None:
        with self._lock:
            try:
                os.write(self._fd, wire.to_line(kind, content))
            except OSError:
                pass  # full, or the daemon is gone: nobody is left to be told


def open_channels(settings: AlertSettings, sender: str, report: Report) -> list[Channel]:
    """Raises ConfigError."""
    if not settings.channels:
        return []
    try:
        from marketmaker.alerts.channels import open_channel  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ConfigError(
            "alerts need the extra: install it with pip install 'marketmaker[alerts]'"
        ) from None
    return [
        Channel(
            each.name,
            open_channel(each.name, each.url),
            Digest(rules_for(settings, each.name)),
            sender,
            report,
        )
        for each in settings.channels
    ]


def watch(busy: Iterable[tuple[str, Busy]], report: Report) -> None:
    while True:
        time.sleep(WATCH_INTERVAL_S)
        now_s = time.monotonic()
        for name, each in busy:
            if each.since_s is not None and now_s - each.since_s > HUNG_S:
                report("hung", {"channel": name, "seconds": HUNG_S})
                os._exit(HUNG_CODE)


def main() -> int:
    # The daemon decides when this ends: systemd and a terminal send their signals to both.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    forbid_core_dumps(undumpable=True)
    give_way(PRIORITY)
    report = Reports(sys.stdout.fileno())
    lines = iter(sys.stdin.buffer.readline, b"")
    first = next(lines, b"")
    if not first:
        return 0
    kind, content = wire.from_line(first)
    assert kind == "open"
    settings = wire.settings_from_json(content["settings"])
    try:
        channels = open_channels(settings, content["sender"], report)
    except ConfigError as error:
        report("refused", {"why": str(error)})
        return 2
    heartbeat = Heartbeat(settings.heartbeat, report)
    for channel in channels:
        channel.start()
    report("opened", {})
    everyone = [(channel.name, channel.busy) for channel in channels]
    everyone.append(("heartbeat", heartbeat.busy))
    threading.Thread(target=watch, args=(everyone, report), daemon=True).start()
    if not serve(lines, channels, heartbeat):
        died = Alert(
            topic="app.died",
            severity=Severity.ERROR,
            instrument="",
            message=DIED,
            ts_ns=time.time_ns(),
        )
        for channel in channels:
            channel.tell(died)
    deadline_s = time.monotonic() + GRACE_S
    for channel in channels:
        channel.close()
    for channel in channels:
        channel.join(deadline_s - time.monotonic())
    os._exit(0)  # whatever hangs, hangs alone


def serve(lines: Iterable[bytes], channels: list[Channel], heartbeat: Heartbeat) -> bool:
    """Until the input ends; whether the daemon said goodbye."""
    for line in lines:
        try:
            kind, content = wire.from_line(line)
        except ValueError:
            continue  # half a line, from a daemon that died while it wrote
        match kind:
            case "alert":
                alert = wire.alert_from_json(content)
                for channel in channels:
                    channel.tell(alert)
            case "heartbeat":
                heartbeat.beat(content)
            case "bye":
                return True
    return False


if __name__ == "__main__":
    sys.exit(main())
