"""Which alerts a channel is told, when, and what shares a message; what the daemon's side does with a full pipe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.alerts import desk as desks
from marketmaker.alerts import rules, wire
from marketmaker.alerts.desk import AlertDesk
from marketmaker.alerts.robots import cut, dingtalk_signature, robot_of
from marketmaker.alerts.rules import Alert, Digest, Message, body, line, matches, title
from marketmaker.errors import ConfigError
from marketmaker.model.action import Severity
from marketmaker.model.settings import (
    AlertChannel,
    AlertRule,
    AlertSettings,
    HeartbeatSettings,
)

ALL = AlertRule(severity=Severity.INFO, cool_down_s=300, group_s=2)
TOPICS = st.sampled_from(["risk.halted", "risk.released", "ledger", "order.filled"])
ALERTS = st.builds(
    Alert,
    topic=TOPICS,
    severity=st.sampled_from(list(Severity)),
    instrument=st.sampled_from(["", "ETHUSDT"]),
    message=st.text(max_size=20),
    ts_ns=st.integers(0, 10**18),
)


def alert(
    topic: str = "risk.halted",
    severity: Severity = Severity.WARNING,
    instrument: str = "",
    message: str = "why",
) -> Alert:
    return Alert(
        topic=topic, severity=severity, instrument=instrument, message=message, ts_ns=3_661 * 10**9
    )


def entries(message: Message | None) -> list[tuple[str, int]]:
    assert message is not None
    return [(entry.alert.message, entry.repeats) for entry in message.entries]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (AlertRule(), {"warning", "error"}),
        (AlertRule(severity=Severity.INFO), {"info", "warning", "error"}),
        (AlertRule(severity=Severity.ERROR), {"error"}),
        (AlertRule(topics=("risk",)), {"warning", "error"}),
        (AlertRule(topics=("risk.halted", "x")), {"warning", "error"}),
        (AlertRule(topics=("ris",)), set()),
        (AlertRule(topics=("risk.halted.more",)), set()),
    ],
)
def test_a_rule_matches_by_severity_and_by_the_parts_of_a_topic(
    rule: AlertRule, told: set[str]
) -> None:
    assert {each.value for each in Severity if matches(rule, "risk.halted", each)} == told


def test_the_first_rule_that_matches_decides_and_other_channels_rules_do_not_count() -> None:
    settings = AlertSettings(
        channels=(
            AlertChannel(name="phone", url="a://b"),
            AlertChannel(name="mail", url="c://d"),
        ),
        rules=(
            AlertRule(topics=("order",), severity=Severity.INFO, channels=("mail",), group_s=60),
            AlertRule(severity=Severity.ERROR, group_s=0),
        ),
    )
    phone, mail = (Digest(rules.rules_for(settings, name)) for name in ("phone", "mail"))
    for digest in (phone, mail):
        digest.add(alert("order.filled", Severity.INFO), 0)
        digest.add(alert("order.overfilled", Severity.ERROR), 0)
    assert entries(phone.due(0)) == [("why", 0)]
    assert mail.due(59.9) is None
    assert entries(mail.due(60)) == [("why", 0), ("why", 0)]


def test_what_comes_close_together_is_one_message() -> None:
    digest = Digest((ALL,))
    digest.add(alert(message="a"), 10)
    digest.add(alert("ledger", message="b"), 11.9)
    assert digest.due(11.99) is None and digest.next_s() == 12
    assert entries(digest.due(12)) == [("a", 0), ("b", 0)]
    assert digest.due(1000) is None


def test_the_same_again_waits_for_the_cool_down_and_is_then_told_with_its_count() -> None:
    digest = Digest((ALL,))
    for second in range(5):
        digest.add(alert(message=f"{second}"), second)
    digest.add(alert(message="another symbol", instrument="ETHUSDT"), 4)
    assert entries(digest.due(4)) == [("0", 0), ("another symbol", 0)]
    assert digest.due(299.9) is None and digest.next_s() == 300
    assert digest.due(300) is None
    assert entries(digest.due(302)) == [("4", 3)]
    assert digest.due(10_000) is None


def test_worse_than_told_does_not_wait() -> None:
    digest = Digest((ALL,))
    digest.add(alert(message="bad"), 0)
    assert entries(digest.due(2)) == [("bad", 0)]
    digest.add(alert(message="worse", severity=Severity.ERROR), 3)
    assert entries(digest.due(5)) == [("worse", 0)]
    digest.add(alert(message="bad again"), 6)
    assert digest.due(8) is None


def test_at_the_end_everything_is_told() -> None:
    digest = Digest((ALL,))
    digest.add(alert(message="first"), 0)
    digest.due(2)
    digest.add(alert(message="held"), 3)
    digest.add(alert("ledger", message="waiting"), 3)
    assert sorted(entries(digest.due(3, everything=True))) == [("held", 0), ("waiting", 0)]
    assert digest.due(3, everything=True) is None


@given(st.lists(st.tuples(ALERTS, st.floats(0, 200)), max_size=60), st.integers(0, 3))
def test_nothing_that_a_rule_wants_is_forgotten(
    steps: Sequence[tuple[Alert, float]], looks: int
) -> None:
    """Every alert is told, or counted by one like it that is told, or counted as lost."""
    digest, now_s, told, lost, wanted = Digest((AlertRule(),)), 0.0, 0, 0, 0
    for number, (each, pause_s) in enumerate(steps):
        now_s += pause_s
        wanted += matches(AlertRule(), each.topic, each.severity)
        digest.add(each, now_s)
        if looks and number % looks == 0 and (message := digest.due(now_s)):
            told += sum(1 + entry.repeats for entry in message.entries)
            lost += message.lost
    while message := digest.due(now_s, everything=True):
        told += sum(1 + entry.repeats for entry in message.entries)
        lost += message.lost
    assert told + lost == wanted


def test_a_channel_that_takes_nothing_keeps_the_newest_and_counts_the_rest() -> None:
    digest = Digest((AlertRule(severity=Severity.INFO, cool_down_s=0, group_s=0),))
    for number in range(rules.MAX_WAITING + 7):
        digest.add(alert(f"topic.{'abcdefghij'[number % 10]}", message=str(number)), number)
    message = digest.due(10_000)
    assert message is not None and message.lost == 7
    assert entries(message)[0] == ("7", 0) and len(message.entries) == rules.MAX_WAITING
    told = body(message).splitlines()
    assert len(told) == rules.MAX_LINES + 2
    assert told[-1] == "7 older alerts were dropped: too many waited for this channel"


def test_a_message_reads_well_and_keeps_the_worst() -> None:
    digest = Digest((ALL,))
    for number in range(rules.MAX_LINES + 3):
        digest.add(alert("order.filled", Severity.INFO, f"S{number}"), 0)
    digest.add(alert("disk.failed", Severity.ERROR, "ETHUSDT", "No space left"), 1)
    message = digest.due(2)
    assert message is not None
    assert title(message, "mm1") == "mm1: error: disk.failed and 23 more"
    assert "01:01:01 error disk.failed ETHUSDT No space left" in body(message)
    assert body(message).endswith("and 4 more that do not fit")
    again = rules.Entry(alert=alert(), repeats=3)
    assert line(again).endswith("risk.halted why (3 more like it since the last message)")


def test_topics_remembered_are_bounded() -> None:
    digest = Digest((ALL,))
    for number in range(rules.MAX_REMEMBERED + 50):
        digest.add(alert(instrument=f"S{number}"), 0)
    assert len(digest._told) == rules.MAX_REMEMBERED


# --- between the two processes

SETTINGS = AlertSettings(
    channels=(AlertChannel(name="phone", url="tgram://1:TOKENTOKEN/2"),),
    rules=(AlertRule(topics=("risk",), severity=Severity.ERROR, channels=("phone",)),),
    heartbeat=HeartbeatSettings(url="https://h/p", url_not_quoting="https://h/q", interval_s=7),
)


@given(ALERTS)
def test_what_is_said_is_understood(each: Alert) -> None:
    kind, content = wire.from_line(wire.to_line("alert", wire.alert_to_json(each)))
    assert (kind, wire.alert_from_json(content)) == ("alert", each)


def test_settings_cross_the_pipe_whole_and_never_show_an_address() -> None:
    there = wire.from_line(wire.to_line("open", wire.settings_to_json(SETTINGS)))[1]
    assert wire.settings_from_json(there) == SETTINGS
    assert "TOKEN" not in repr(SETTINGS) and "https" not in repr(SETTINGS)


class Messenger:
    """A process that is two pipes: what the desk wrote is in the first, unread until `read`."""

    def __init__(self) -> None:
        inner, outer = os.pipe(), os.pipe()
        self.read_fd, self.answer_fd = inner[0], outer[1]
        self.stdin: IO[bytes] | None = os.fdopen(inner[1], "wb", buffering=0)
        self.stdout: IO[bytes] | None = os.fdopen(outer[0], "rb", buffering=0)
        self.code: int | None = None
        os.set_blocking(self.read_fd, False)

    def poll(self) -> int | None:
        return self.code

    def read(self) -> list[tuple[str, dict[str, Any]]]:
        data = b""
        try:
            while more := os.read(self.read_fd, 1 << 20):
                data += more
        except BlockingIOError:
            pass
        return [wire.from_line(each) for each in data.splitlines()]

    def answer(self, kind: str, content: dict[str, Any]) -> None:
        os.write(self.answer_fd, wire.to_line(kind, content))

    def end(self) -> None:
        self.code = 70
        os.close(self.read_fd)
        os.close(self.answer_fd)


@pytest.fixture
def spawned() -> Iterator[list[Messenger]]:
    found: list[Messenger] = []
    yield found
    for each in found:
        for pipe in (each.stdin, each.stdout):
            if pipe is not None:
                pipe.close()
        if each.code is None:
            each.end()


def make_desk(spawned: list[Messenger], now_s: list[float] | None = None) -> AlertDesk:
    times = now_s if now_s is not None else [0.0]

    def spawn() -> Messenger:
        spawned.append(Messenger())
        return spawned[-1]

    desk = AlertDesk(
        AlertSettings(channels=SETTINGS.channels),
        sender="mm1",
        now_ns=lambda: 0,
        monotonic_s=lambda: times[0],
        spawn=spawn,
    )
    desk._start()
    return desk


def test_the_desk_forwards_what_a_rule_wants_and_nothing_else(spawned: list[Messenger]) -> None:
    desk = make_desk(spawned)
    desk.tell(alert(severity=Severity.INFO))
    desk.tell(alert(message="wanted"))
    desk.beat({"quoting": True})
    desk.close()
    kinds = [(kind, content.get("message")) for kind, content in spawned[0].read()]
    assert kinds == [("open", None), ("alert", "wanted"), ("heartbeat", None), ("bye", None)]


def test_a_messenger_that_reads_nothing_costs_a_bounded_queue_and_the_loss_is_told(
    spawned: list[Messenger],
) -> None:
    desk = make_desk(spawned)
    for number in range(5_000):
        desk.tell(alert(message=f"{number:0500d}"))
    assert len(desk._lines) == desks.MAX_WAITING and desk.dropped > 3_000
    heard = []
    for _ in range(100):
        heard += spawned[0].read()
        desk.tend()
    numbers = [
        int(content["message"]) for _, content in heard if content.get("message", "")[:1] == "0"
    ]
    assert numbers == sorted(numbers) and numbers[-1] == 4_999
    assert len(numbers) == 5_000 - desk.dropped
    (note,) = [c["message"] for _, c in heard if c.get("topic") == "alerts.dropped"]
    assert note.startswith(f"{desk.dropped} alerts were dropped")


def test_a_messenger_that_ends_is_started_again_and_nothing_half_is_sent(
    spawned: list[Messenger],
) -> None:
    now_s = [0.0]
    desk = make_desk(spawned, now_s)
    for number in range(500):
        desk.tell(alert(message=f"{number:0500d}"))
    assert desk._current, "the pipe should be full"
    spawned[0].end()
    with structlog.testing.capture_logs() as logged:
        desk.tend()
        assert len(spawned) == 1, "not before its time"
        now_s[0] = desks.RESTART_AFTER_S
        desk.tend()
    assert [each["event"] for each in logged] == ["messenger.ended"]
    heard = []
    for _ in range(20):
        heard += spawned[1].read()
        desk.tend()
    assert heard[0][0] == "open"
    assert heard[-1][1]["message"] == f"{499:0500d}"


def test_what_became_of_a_message_is_logged(spawned: list[Messenger]) -> None:
    desk = make_desk(spawned)
    with structlog.testing.capture_logs() as logged:
        spawned[0].answer("failed", {"channel": "phone", "why": "HTTP 503"})
        spawned[0].answer("heartbeat", {"why": "h: refused"})
        spawned[0].answer("heartbeat", {"why": ""})
        spawned[0].answer("sent", {"channel": "phone", "alerts": 1})
        desk.tend()
    assert [each["event"] for each in logged] == [
        "alert.failed",
        "heartbeat.failed",
        "heartbeat.taken",
        "alert.sent",
    ]


def test_the_messenger_inherits_no_variable_that_could_hold_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(desks.subprocess, "Popen", lambda *_, env, **__: started.append(env))
    desks.spawn_messenger({"API_SECRET": "x", "PATH": "/bin", "https_proxy": "p", "HOME": "/h"})
    assert set(started[0]) == {"PATH", "https_proxy", "HOME", "PYTHONPATH"}


# --- addresses


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_an_address_that_is_not_understood_is_refused_without_being_quoted() -> None:
    channels = pytest.importorskip("marketmaker.alerts.channels")
    for url in ("tgram://SECRETSECRET", "nosuch://SECRETSECRET/x", "mailto://"):
        with pytest.raises(ConfigError) as caught:
            channels.open_channel("phone", url)
        assert "alert channel phone" in str(caught.value)
        assert "SECRETSECRET" not in str(caught.value)


def test_the_robots_addresses_are_ours() -> None:
    assert robot_of("dingtalk://SECabc@token/") and robot_of("wecombot://key")
    assert robot_of("dingtalk://") is None and robot_of("tgram://1:a/2") is None


def test_dingtalk_is_signed_as_its_page_says() -> None:
    """Worked out by hand with openssl: printf '1577262236757\\nthis is secret' | openssl dgst -sha256 -hmac 'this is secret' -binary | base64."""
    assert dingtalk_signature("this is secret", 1577262236757) == (
        "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM="
    )


def test_a_long_text_is_cut_between_characters() -> None:
    assert cut("价" * 1000).endswith("价...") and len(cut("价" * 1000).encode()) <= 2_000
    assert cut("short") == "short"


def test_every_part_of_an_address_that_may_be_a_secret_is_masked(tmp_path: Path) -> None:
    from marketmaker.config.alerts import secret_parts

    found = set(secret_parts("tgram://123456789:ABCdefGHI/-1001234567890"))
    assert {"123456789:ABCdefGHI", "ABCdefGHI", "-1001234567890"} <= found
    assert {"password%21", "password!"} <= set(
        secret_parts("mailtos://user:password%21@example.com")
    )
    assert "example.com" not in set(secret_parts("mailtos://user:password1@example.com"))
    assert "127.0.0.1:8000" not in set(secret_parts("json://127.0.0.1:8000/tokentoken"))
    assert "tokentoken" in set(secret_parts("json://127.0.0.1:8000/tokentoken"))
    assert "longtokenvalue" in set(secret_parts("https://host/x?key=longtokenvalue"))
