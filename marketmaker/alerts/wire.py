"""What the daemon and its messenger say to each other: JSON objects, one a line, told apart by their only member.

to the messenger    {"open": {...}} first, then {"alert": {...}}, {"heartbeat": {...}} and at the end {"bye": {}}
to the daemon       {"opened": {}} or {"refused": {"why": ...}} first, then {"failed": {...}}, {"sent": {...}}
"""

from __future__ import annotations

import json
from typing import Any

from marketmaker.alerts.rules import Alert
from marketmaker.model.action import Severity
from marketmaker.model.settings import AlertChannel, AlertRule, AlertSettings, HeartbeatSettings

MAX_MESSAGE_CHARS = 1_000
"""Of one alert; a longer text is cut."""


def to_line(kind: str, content: dict[str, Any]) -> bytes:
    return json.dumps({kind: content}, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """Raises ValueError."""
    whole = json.loads(line)
    if not isinstance(whole, dict) or len(whole) != 1:
        raise ValueError("not an object with one member")
    ((kind, content),) = whole.items()
    if not isinstance(content, dict):
        raise ValueError(f"{kind} is not an object")
    return kind, content


def settings_to_json(settings: AlertSettings) -> dict[str, Any]:
    """With addresses and all: for a pipe between two processes of ours, never for a log."""
    heartbeat = settings.heartbeat
    return {
        "channels": [{"name": each.name, "url": each.url} for each in settings.channels],
        "rules": [
            {
                "topics": list(each.topics),
                "severity": each.severity.value,
                "channels": list(each.channels),
                "cool_down_s": each.cool_down_s,
                "group_s": each.group_s,
            }
            for each in settings.rules
        ],
        "heartbeat": {
            "url": heartbeat.url,
            "url_not_quoting": heartbeat.url_not_quoting,
            "interval_s": heartbeat.interval_s,
        },
    }


def settings_from_json(written: dict[str, Any]) -> AlertSettings:
    return AlertSettings(
        channels=tuple(AlertChannel(**each) for each in written["channels"]),
        rules=tuple(
            AlertRule(
                topics=tuple(each["topics"]),
                severity=Severity(each["severity"]),
                channels=tuple(each["channels"]),
                cool_down_s=each["cool_down_s"],
                group_s=each["group_s"],
            )
            for each in written["rules"]
        ),
        heartbeat=HeartbeatSettings(**written["heartbeat"]),
    )


def alert_to_json(alert: Alert) -> dict[str, Any]:
    text = alert.message
    if len(text) > MAX_MESSAGE_CHARS:
        text = text[: MAX_MESSAGE_CHARS - 3] + "..."
    return {
        "topic": alert.topic,
        "severity": alert.severity.value,
        "instrument": alert.instrument,
        "message": text,
        "ts_ns": alert.ts_ns,
    }


def alert_from_json(written: dict[str, Any]) -> Alert:
    return Alert(**{**written, "severity": Severity(written["severity"])})
