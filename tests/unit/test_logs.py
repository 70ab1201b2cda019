"""Log lines: their shape, their time, what they must never contain, and that they never get in the way."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from marketmaker import logs
from marketmaker.errors import ConfigError
from marketmaker.model.order import Side

NOW_NS = 1_723_075_200_123_456_789
SECRET = 'kJ8"x/ü9-very-secret'


@pytest.fixture(autouse=True)
def clean_slate() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logs.forget_secrets()
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    out = io.StringIO()
    logs.configure("info", tty=False, now_ns=lambda: NOW_NS, out=out)
    return out


def only_line(out: io.StringIO) -> dict[str, Any]:
    [line] = out.getvalue().splitlines()
    fields = json.loads(line)
    assert isinstance(fields, dict)
    return fields


def test_a_line_is_json_with_time_level_and_event_first(out: io.StringIO) -> None:
    structlog.get_logger().bind(service="engine").info("order.placed", slot=-3, side=Side.BUY)
    assert out.getvalue() == (
        '{"timestamp":"2024-08-08T00:00:00.123456Z","level":"info","event":"order.placed",'
        '"service":"engine","slot":-3,"side":1}\n'
    )


def test_the_time_is_that_of_the_injected_clock() -> None:
    out, times = io.StringIO(), iter([0, 1_000_000_000 - 1])
    logs.configure("info", tty=False, now_ns=lambda: next(times), out=out)
    structlog.get_logger().info("a")
    structlog.get_logger().info("b")
    assert [json.loads(line)["timestamp"] for line in out.getvalue().splitlines()] == [
        "1970-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:00.999999Z",
    ]


def test_decimals_are_exact_and_everything_else_is_still_json(out: io.StringIO) -> None:
    structlog.get_logger().info(
        "x",
        price=Decimal("0.0000001"),
        ratio=float("nan"),
        sides={Side.BUY: (1, None)},
        thing=ValueError("what"),
        text="价格\n\ud800",
    )
    fields = only_line(out)
    assert fields["price"] == "0.0000001" and fields["ratio"] == "nan"
    assert fields["sides"] == {"1": [1, None]} and fields["thing"] == "what"
    assert fields["text"] == "价格\n\ud800"


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", 5), ("info", 4), ("warning", 3), ("error", 2), ("critical", 1)],
)
def test_only_lines_at_or_above_the_level_are_written(level: str, heard: int) -> None:
    out = io.StringIO()
    logs.configure(level, tty=False, now_ns=lambda: NOW_NS, out=out)
    log = structlog.get_logger().bind(service="x")
    for name in logs.LEVELS:
        getattr(log, name)("x")
    assert out.getvalue().count("\n") == heard


def test_a_line_below_the_level_costs_no_clock_and_no_rendering() -> None:
    asked: list[int] = []

    def now_ns() -> int:
        asked.append(1)
        return NOW_NS

    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError("was rendered")

    logs.configure("info", tty=False, now_ns=now_ns, out=io.StringIO())
    structlog.get_logger().bind(service="x").debug("frame", body=Unprintable())
    assert asked == []


def test_an_unknown_level_is_refused_with_those_that_pass() -> None:
    with pytest.raises(ConfigError, match="'loud': must be one of debug, info"):
        logs.configure("loud", tty=False, now_ns=lambda: NOW_NS)


@pytest.mark.parametrize(
    "name",
    ["api_key", "apiSecret", "passphrase", "X-SIGNATURE", "token", "Authorization", "password"],
)
def test_a_field_that_sounds_secret_is_masked_at_any_depth(out: io.StringIO, name: str) -> None:
    structlog.get_logger().info("x", **{name: "hush"}, headers={name: ["hush"]}, many=[{name: 1}])
    fields = only_line(out)
    assert fields[name] == "***" and fields["headers"] == {name: "***"}
    assert fields["many"] == [{name: "***"}]
    assert "hush" not in out.getvalue()


def test_a_secret_field_that_is_not_set_says_so(out: io.StringIO) -> None:
    structlog.get_logger().info("x", api_key="", passphrase=None)
    fields = only_line(out)
    assert (fields["api_key"], fields["passphrase"]) == ("", None)


def test_a_registered_secret_never_appears_in_any_part_of_a_line(out: io.StringIO) -> None:
    logs.register_secrets([SECRET])

    class Client:
        def __repr__(self) -> str:
            return f"Client({SECRET})"

    log = structlog.get_logger()
    log.info(f"event {SECRET}", url=f"https://x/?k={SECRET}", client=Client(), **{SECRET: 1})
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("failed", nested=[{"a": (SECRET,)}])
    text = out.getvalue()
    assert "very-secret" not in text and json.dumps(SECRET)[1:-1] not in text
    assert "ValueError" in text and "Traceback" in text
    assert [json.loads(line)["level"] for line in text.splitlines()] == ["info", "error"]


def test_a_registered_secret_does_not_appear_on_a_terminal_either() -> None:
    out = io.StringIO()
    logs.configure("info", tty=True, now_ns=lambda: NOW_NS, out=out)
    logs.register_secrets([SECRET])
    structlog.get_logger().info("x", note=f"a {SECRET}", plain=SECRET)
    assert "very-secret" not in out.getvalue() and "***" in out.getvalue()


def test_a_short_secret_is_masked_as_a_value_without_spoiling_numbers(out: io.StringIO) -> None:
    logs.register_secrets(["12", ""])
    structlog.get_logger().info("x", phrase="12", qty_lots=12, price="3012.5")
    fields = only_line(out)
    assert (fields["phrase"], fields["qty_lots"], fields["price"]) == ("***", 12, "3012.5")


def test_a_secret_inside_a_longer_one_leaves_nothing_of_it(out: io.StringIO) -> None:
    logs.register_secrets(["abcdefgh", "abcdefghijklmnop"])
    structlog.get_logger().info("x", note="is abcdefghijklmnop")
    assert only_line(out)["note"] == "is ***"


def test_what_libraries_log_comes_the_same_way(out: io.StringIO) -> None:
    logs.register_secrets([SECRET])
    logger = logging.getLogger("asyncio")
    logger.info("not this")
    logger.log(35, "task %s failed", SECRET)
    fields = only_line(out)
    assert fields["event"] == "task *** failed"
    assert (fields["level"], fields["service"]) == ("warning", "asyncio")


def test_a_library_s_exception_keeps_its_traceback(out: io.StringIO) -> None:
    try:
        raise OSError("gone")
    except OSError:
        logging.getLogger("asyncio").exception("lost")
    fields = only_line(out)
    assert fields["event"] == "lost"
    assert "OSError: gone" in fields["exception"]


def test_a_library_s_broken_message_is_written_as_it_is(out: io.StringIO) -> None:
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "lost %d of %s", (1,), None)
    logs.StandardLibraryHandler().emit(record)
    assert only_line(out)["event"] == "lost %d of %s"


class Refusing(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_line_that_cannot_be_written_is_dropped() -> None:
    closed = io.StringIO()
    closed.close()
    for out in (Refusing(), closed):
        logs.configure("info", tty=False, now_ns=lambda: NOW_NS, out=out)
        structlog.get_logger().info("x")


def test_a_stream_that_knows_only_ascii_gets_escapes() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    logs.configure("info", tty=False, now_ns=lambda: NOW_NS, out=out)
    structlog.get_logger().info("x", note="价格")
    assert json.loads(raw.getvalue())["note"] == "价格"


def test_on_a_terminal_a_line_is_pretty_and_first_erases_the_status_line() -> None:
    out = io.StringIO()
    logs.configure("info", tty=True, now_ns=lambda: NOW_NS, out=out)
    structlog.get_logger().info("order.placed", slot=3)
    text = out.getvalue()
    assert text.startswith("\r\x1b[K") and text.endswith("\n") and text.count("\n") == 1
    assert "order.placed" in text and "slot" in text and not text.rstrip().endswith("}")


def test_journald_is_told_the_level_of_each_line() -> None:
    out = io.StringIO()
    logs.configure("debug", tty=False, now_ns=lambda: NOW_NS, out=out, to_journal=True)
    logger = structlog.get_logger()
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)("x")
    lines = out.getvalue().splitlines()
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert [json.loads(line[3:])["level"] for line in lines][-1] == "critical"


def test_it_is_journald_when_systemd_names_this_very_stream(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        status = os.fstat(out.fileno())
        named = f"{status.st_dev}:{status.st_ino}"
        assert logs.leads_to_journal(out, {"JOURNAL_STREAM": named})
        assert not logs.leads_to_journal(out, {"JOURNAL_STREAM": "1:2"})
        assert not logs.leads_to_journal(out, {})
    assert not logs.leads_to_journal(io.StringIO(), {"JOURNAL_STREAM": named})


def test_the_last_lines_are_remembered_without_secrets(out: io.StringIO) -> None:
    logs.register_secrets([SECRET])
    for number in range(logs.MAX_RECENT_LINES + 5):
        structlog.get_logger().info("x", number=number, text=f"a {SECRET} b")
    kept = logs.recent_lines()
    assert len(kept) == logs.MAX_RECENT_LINES
    assert '"number":5,' in kept[0] and "a *** b" in kept[0]
