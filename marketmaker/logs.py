"""Log set-up: JSON lines on standard output, pretty on a terminal; secrets never get out.

Three nets hold secrets back. An error of ours is masked when it is made, so that whoever shows or keeps its text need not
think of it. A field whose name sounds like one is masked whatever it holds; and every value given to
`register_secrets` is masked wherever it turns up in a finished line, inside a URL, a traceback or somebody's `repr`.

A logger is bound once per service, in its constructor (`structlog.get_logger().bind(service=...)`); a call below the
level then costs one empty method. A log line that cannot be written is dropped: no log line is worth an order.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from marketmaker.errors import ConfigError, mask_messages_with

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
SECRET_WORDS = ("key", "secret", "passphrase", "password", "signature", "token", "authorization")
MASK = "***"
LONG_ENOUGH_TO_SEARCH = 8
"""A shorter secret is masked only where it is a whole value: looking for "1" in every line would mask the prices."""
MAX_RECENT_LINES = 200
ERASE_LINE = "\r\x1b[K"

_secrets: set[str] = set()
_searched: list[str] = []
_recent: deque[str] = deque(maxlen=MAX_RECENT_LINES)


def configure(
    level: str,
    *,
    tty: bool,
    now_ns: Callable[[], int],
    out: TextIO | None = None,
    to_journal: bool = False,
) -> None:
    """Sets up structlog, and the standard library's logging (warnings and above) to go the same way.

    `now_ns` gives the time stamps, Unix ns. `out` is standard output unless given. `to_journal`: it leads to journald,
    which takes a line's level from a number in front (`journalctl -p warning`). Raises ConfigError for an unknown level.
    """
    if level not in LEVELS:
        raise ConfigError(f"log level {level!r}: must be one of {', '.join(LEVELS)}")
    writer = LineWriter(out if out is not None else sys.stdout, tty=tty, to_journal=to_journal)
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        stamper(now_ns),
        mask_fields,
        render_pretty() if tty else render_json,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [StandardLibraryHandler()]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def register_secrets(values: Iterable[str]) -> None:
    """From here on these never appear in a log line, nor in the message of an error of ours."""
    mask_messages_with(masked)
    _secrets.update(value for value in values if value)
    forms = {form for value in _secrets for form in written_forms(value)}
    # Longest first, so that a secret that is part of another does not leave the rest of it behind.
    _searched[:] = sorted(
        (form for form in forms if len(form) >= LONG_ENOUGH_TO_SEARCH), key=len, reverse=True
    )


def written_forms(value: str) -> Iterator[str]:
    """As it is, and as it stands inside quotes."""
    yield value
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]


def recent_lines() -> list[str]:
    """The last ones written, oldest first, without secrets."""
    return list(_recent)


def forget_secrets() -> None:
    _secrets.clear()
    _searched.clear()


def masked(text: str) -> str:
    """`text` without any registered secret."""
    for secret in _searched:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


class LineWriter:
    """Where finished lines go. On a terminal each line first erases the status line it would run into; to journald each
    begins with its level, as in sd-daemon(3)."""

    def __init__(self, out: TextIO, *, tty: bool, to_journal: bool = False) -> None:
        self._out = out
        self._before = ERASE_LINE if tty else ""
        self._to_journal = to_journal

    def debug(self, line: str) -> None:
        self._write(line, "<7>")

    def info(self, line: str) -> None:
        self._write(line, "<6>")

    def warning(self, line: str) -> None:
        self._write(line, "<4>")

    def error(self, line: str) -> None:
        self._write(line, "<3>")

    def critical(self, line: str) -> None:
        self._write(line, "<2>")

    msg = info

    def _write(self, line: str, level: str) -> None:
        line = masked(line)
        _recent.append(line)
        text = f"{level if self._to_journal else self._before}{line}\n"
        try:
            try:
                self._out.write(text)
            except UnicodeEncodeError:
                self._out.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            self._out.flush()
        except (OSError, ValueError):
            pass  # standard output was closed, or its disk is full


def leads_to_journal(out: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether systemd connected `out` to journald: it says which device and inode that is."""
    try:
        status = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def stamper(now_ns: Callable[[], int]) -> Processor:
    def stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["timestamp"] = iso_timestamp(now_ns())
        return event

    return stamp


def iso_timestamp(ts_ns: int) -> str:
    """UTC, to the microsecond: 2024-08-08T00:00:00.000000Z."""
    seconds, ns = divmod(ts_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns // 1000:06d}Z"


def mask_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: safe_field(name, value) for name, value in event.items()}


def safe_field(name: object, value: object) -> object:
    return MASK if sounds_secret(name) and value not in (None, "") else safe(value)


def sounds_secret(name: object) -> bool:
    lower = str(name).lower()
    return any(word in lower for word in SECRET_WORDS)


def safe(value: object) -> object:
    """The value with secrets masked and nothing in it that JSON lacks a word for, as deep as it goes."""
    match value:
        case str():
            return MASK if value in _secrets else masked(str(value))
        case bool() | int() | None:
            return value
        case float():
            return value if isfinite(value) else str(value)
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return {str(name): safe_field(name, item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [safe(item) for item in value]
        case _:
            return masked(str(value))


def render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return json.dumps({**first, **event}, ensure_ascii=False, separators=(",", ":"))


def render_pretty() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
    )


class StandardLibraryHandler(logging.Handler):
    """What asyncio and the network libraries log, as lines like ours."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(service=record.name)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        logger.log(level, message, exc_info=record.exc_info)
