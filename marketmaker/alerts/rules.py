"""What one channel is told, and when: rules, cool-down, grouping. Pure; the caller gives the time.

The same topic of the same symbol is told once in the rule's `cool_down_s`. What comes meanwhile is counted; when the
time is over, the newest of it is told with the count, so that trouble that stays is told again at that pace and trouble
that went on quietly is not forgotten. An alert that is worse than the last one told does not wait. All that comes within
`group_s` of the first waiting alert is one message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from marketmaker.model.action import Severity
from marketmaker.model.settings import AlertRule, AlertSettings

MAX_WAITING = 200
"""Alerts that wait for one channel; when more come the oldest are dropped and counted."""
MAX_REMEMBERED = 1_000
"""Topics whose cool-down is remembered; the one told longest ago is forgotten first."""
MAX_LINES = 20
"""Alerts in one message; the others of its group are counted."""
ORDER = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}
EVERYTHING = (AlertRule(),)
"""Without rules every channel is told of warnings and errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """`instrument` "" for what concerns the whole process. `ts_ns`: when it happened, Unix ns."""

    topic: str
    severity: Severity
    instrument: str
    message: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An alert to be told. `repeats`: how many like it came since the last one told, itself not counted."""

    alert: Alert
    repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent at once, oldest first. `lost`: alerts dropped because too many waited."""

    entries: tuple[Entry, ...]
    lost: int

    @property
    def severity(self) -> Severity:
        return max((entry.alert.severity for entry in self.entries), key=ORDER.__getitem__)


@dataclass(slots=True)
class Told:
    """`at_s` the last one was told; `held` the newest since, not told, with `repeats` of them."""

    severity: Severity
    at_s: float
    cool_down_s: float
    group_s: float
    held: Alert | None = None
    repeats: int = 0


def matches(rule: AlertRule, topic: str, severity: Severity) -> bool:
    if ORDER[severity] < ORDER[rule.severity]:
        return False
    return not rule.topics or any(
        topic == each or topic.startswith(each + ".") for each in rule.topics
    )


def rules_of(settings: AlertSettings) -> Sequence[AlertRule]:
    return settings.rules or EVERYTHING


def rules_for(settings: AlertSettings, channel: str) -> tuple[AlertRule, ...]:
    """Those that concern one channel; the first that matches an alert decides how it is told."""
    return tuple(
        rule for rule in rules_of(settings) if not rule.channels or channel in rule.channels
    )


def is_wanted(rules: Iterable[AlertRule], topic: str, severity: Severity) -> bool:
    return any(matches(rule, topic, severity) for rule in rules)


class Digest:
    """What waits to be told on one channel. Times in seconds of any clock that does not go back."""

    def __init__(self, rules: Sequence[AlertRule]) -> None:
        self._rules = rules
        self._told: dict[tuple[str, str], Told] = {}
        self._waiting: deque[Entry] = deque()
        self._due_s: float | None = None
        self._lost = 0

    def add(self, alert: Alert, now_s: float) -> None:
        rule = next((r for r in self._rules if matches(r, alert.topic, alert.severity)), None)
        if rule is None:
            return
        self._expire(now_s)
        key = (alert.topic, alert.instrument)
        told = self._told.get(key)
        if (
            told is not None
            and now_s - told.at_s < told.cool_down_s
            and ORDER[alert.severity] <= ORDER[told.severity]
        ):
            told.held = alert
            told.repeats += 1
            return
        repeats = 0 if told is None else told.repeats
        self._told.pop(key, None)
        self._told[key] = Told(alert.severity, now_s, rule.cool_down_s, rule.group_s)
        if len(self._told) > MAX_REMEMBERED:
            del self._told[next(iter(self._told))]
        self._wait(Entry(alert=alert, repeats=repeats), now_s + rule.group_s)

    def due(self, now_s: float, *, everything: bool = False) -> Message | None:
        """The message whose time has come, if any; `everything`: what waits, whenever its time is."""
        self._expire(now_s)
        if everything:
            for told in self._told.values():
                self._release(told, now_s)
        if self._due_s is None or (now_s < self._due_s and not everything):
            return None
        message = Message(entries=tuple(self._waiting), lost=self._lost)
        self._waiting.clear()
        self._due_s, self._lost = None, 0
        return message

    def note_lost(self, count: int) -> None:
        """So many could not be sent and are given up."""
        self._lost += count

    def next_s(self) -> float | None:
        """When there may be something due; None: not before something is added."""
        times = [told.at_s + told.cool_down_s for told in self._told.values() if told.held]
        if self._due_s is not None:
            times.append(self._due_s)
        return min(times, default=None)

    def _expire(self, now_s: float) -> None:
        for key, told in list(self._told.items()):
            if now_s - told.at_s >= told.cool_down_s:
                if told.held is None:
                    del self._told[key]
                else:
                    self._release(told, now_s)

    def _release(self, told: Told, now_s: float) -> None:
        if told.held is None:
            return
        self._wait(Entry(alert=told.held, repeats=told.repeats - 1), now_s + told.group_s)
        told.severity, told.at_s = told.held.severity, now_s
        told.held, told.repeats = None, 0

    def _wait(self, entry: Entry, due_s: float) -> None:
        if len(self._waiting) == MAX_WAITING:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(entry)
        self._due_s = due_s if self._due_s is None else min(self._due_s, due_s)


def title(message: Message, sender: str) -> str:
    count = len(message.entries)
    more = f" and {count - 1} more" if count > 1 else ""
    worst = next(
        entry.alert for entry in message.entries if entry.alert.severity is message.severity
    )
    return f"{sender}: {worst.severity.value}: {worst.topic}{more}"


def body(message: Message) -> str:
    """One line for each alert, oldest first; the least bad are left out where there are too many."""
    entries = message.entries
    left_out = max(len(entries) - MAX_LINES, 0)
    if left_out:
        by_weight = sorted(
            range(len(entries)), key=lambda i: (ORDER[entries[i].alert.severity], i), reverse=True
        )
        entries = tuple(entries[i] for i in sorted(by_weight[:MAX_LINES]))
    lines = [line(entry) for entry in entries]
    if left_out:
        lines.append(f"and {left_out} more that do not fit")
    if message.lost:
        lines.append(f"{message.lost} older alerts were dropped: too many waited for this channel")
    return "\n".join(lines)


def line(entry: Entry) -> str:
    alert = entry.alert
    about = f"{alert.instrument} " if alert.instrument else ""
    again = f" ({entry.repeats} more like it since the last message)" if entry.repeats else ""
    return f"{clock_time(alert.ts_ns)} {alert.severity.value} {alert.topic} {about}{alert.message}{again}"


def clock_time(ts_ns: int) -> str:
    """HH:MM:SS UTC."""
    seconds = ts_ns // 1_000_000_000 % 86_400
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
