"""The process that sends: what it does when a channel refuses, hangs, or the daemon goes away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketmaker.alerts import wire
from marketmaker.alerts.messenger import HUNG_CODE
from marketmaker.alerts.rules import Alert
from marketmaker.model.action import Severity
from marketmaker.model.settings import (
    AlertChannel,
    AlertRule,
    AlertSettings,
    HeartbeatSettings,
)
from tests.support.daemon import ROOT, environment
from tests.support.receivers import Receiver

pytest.importorskip("apprise")
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

IMPATIENT = """
import sys
from marketmaker.alerts import messenger
messenger.RETRY_S = (0.2, 0.2, 0.2)
messenger.HUNG_S = float(sys.argv[1])
sys.exit(messenger.main())
"""


class Messenger:
    """The real process, with shorter patience."""

    def __init__(self, settings: AlertSettings, env: dict[str, str], hung_s: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, str(hung_s)],
            cwd=ROOT,
            env=environment(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.say("open", {"settings": wire.settings_to_json(settings), "sender": "mm1"})
        self.wait_for("opened")

    def say(self, kind: str, content: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(wire.to_line(kind, content))
        self.process.stdin.flush()

    def alert(self, message: str) -> None:
        alert = Alert(
            topic="risk.halted",
            severity=Severity.ERROR,
            instrument="",
            message=message,
            ts_ns=0,
        )
        self.say("alert", wire.alert_to_json(alert))

    def wait_for(self, kind: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            said, content = wire.from_line(line)
            if said == kind:
                return content
        raise AssertionError(f"it ended without saying {kind}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def telling(*channels: tuple[str, str], heartbeat: str = "", other: str = "") -> AlertSettings:
    return AlertSettings(
        channels=tuple(AlertChannel(name=name, url=url) for name, url in channels),
        rules=(AlertRule(severity=Severity.INFO, cool_down_s=0, group_s=0),),
        heartbeat=HeartbeatSettings(url=heartbeat, url_not_quoting=other),
    )


@pytest.fixture
def moods() -> dict[str, str]:
    """How each host treats a request; what it does `once` it does with the next one only."""
    return {}


@pytest.fixture
def receiver(tmp_path: Path, moods: dict[str, str]) -> Iterator[Receiver]:
    def mood(host: str) -> str:
        found = moods.get(host, "taken")
        if found.endswith(" once"):
            moods[host] = "taken"
        return found.removesuffix(" once")

    listening = Receiver(tmp_path, mood)
    yield listening
    listening.close()


@pytest.fixture
def started() -> Iterator[list[Messenger]]:
    found: list[Messenger] = []
    yield found
    for each in found:
        each.close()


def start(
    started: list[Messenger], receiver: Receiver, settings: AlertSettings, hung_s: float = 60.0
) -> Messenger:
    started.append(Messenger(settings, receiver.environment(), hung_s))
    return started[-1]


def test_what_is_refused_is_tried_again_and_then_counted_as_lost(
    receiver: Receiver, moods: dict[str, str], started: list[Messenger]
) -> None:
    hook = f"json://127.0.0.1:{receiver.port}/hook"
    messenger = start(started, receiver, telling(("hook", hook)))
    moods["127.0.0.1"] = "503 once"
    messenger.alert("first")
    assert "503" in messenger.wait_for("failed")["why"]
    assert messenger.wait_for("sent") == {"channel": "hook", "alerts": 1}
    assert ["first" in each.json()["message"] for each in receiver.heard] == [True]

    moods["127.0.0.1"] = "503"
    messenger.alert("second")
    assert messenger.wait_for("lost")["alerts"] == 1
    moods["127.0.0.1"] = "taken"
    messenger.alert("third")
    messenger.wait_for("sent")
    last = receiver.heard[-1].json()["message"]
    assert "third" in last and "1 older alerts were dropped" in last


def test_a_channel_that_hangs_ends_the_process_and_not_the_other_channels_message(
    receiver: Receiver, moods: dict[str, str], started: list[Messenger]
) -> None:
    moods["discord.com"] = "hang"
    settings = telling(
        ("hung", "discord://1234567890123/tokentokentoken-AbC"),
        ("hook", f"json://127.0.0.1:{receiver.port}/hook"),
    )
    messenger = start(started, receiver, settings, hung_s=4.0)
    messenger.alert("both are told")
    receiver.wait_for(lambda each: "both are told" in each.json().get("message", ""))
    assert messenger.wait_for("hung")["channel"] == "hung"
    assert messenger.process.wait(60) == HUNG_CODE


def test_the_heartbeat_goes_where_it_should_and_says_when_it_fails_and_works_again(
    receiver: Receiver, moods: dict[str, str], started: list[Messenger]
) -> None:
    base = f"http://127.0.0.1:{receiver.port}"
    messenger = start(started, receiver, telling(heartbeat=f"{base}/good", other=f"{base}/bad"))
    messenger.say("heartbeat", {"quoting": True, "why": ""})
    receiver.wait_for(lambda each: each.path == "/good")
    messenger.say("heartbeat", {"quoting": False, "why": "paused"})
    told = receiver.wait_for(lambda each: each.path == "/bad")
    assert told.json() == {"quoting": False, "why": "paused"}
    moods["127.0.0.1"] = "500"
    messenger.say("heartbeat", {"quoting": True, "why": ""})
    assert messenger.wait_for("heartbeat")["why"] == "HTTP 500"
    moods["127.0.0.1"] = "taken"
    messenger.say("heartbeat", {"quoting": True, "why": ""})
    assert messenger.wait_for("heartbeat")["why"] == ""


def test_signals_meant_for_the_daemon_do_not_end_it_and_what_waits_is_sent_at_the_end(
    receiver: Receiver, started: list[Messenger]
) -> None:
    settings = AlertSettings(
        channels=(AlertChannel(name="hook", url=f"json://127.0.0.1:{receiver.port}/hook"),),
        rules=(AlertRule(group_s=3600),),
    )
    messenger = start(started, receiver, settings)
    messenger.alert("it would wait for an hour")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        messenger.process.send_signal(number)
    time.sleep(0.3)
    assert messenger.process.poll() is None and not receiver.heard
    messenger.say("bye", {})
    assert messenger.process.wait(60) == 0
    (told,) = receiver.heard
    assert "it would wait for an hour" in told.json()["message"]
    assert "app.died" not in json.dumps(told.json())
