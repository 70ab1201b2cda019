"""The live line: what it says, that it fits, and that it stays away from anything but a terminal."""

from __future__ import annotations

import asyncio
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.cli import status_line
from marketmaker.cli.status_line import StatusLine, StatusRow, columns, render


def row(
    symbol: str = "ETHUSDT", price: Decimal | None = Decimal("2412.30"), why_paused: str = ""
) -> StatusRow:
    return StatusRow(
        symbol=symbol,
        price=price,
        quoted=20,
        held=4,
        fills=1203,
        pnl=Decimal("-12.345"),
        quote="USDT",
        why_paused=why_paused,
    )


def test_a_row_says_price_slots_fills_and_pnl() -> None:
    assert render([row()], 200) == (
        "ETHUSDT 2,412.30  quoted 20  held 4  fills 1,203  PnL -12.34 USDT"
    )


def test_a_tiny_price_is_written_out() -> None:
    assert "ETHUSDT 0.00000012  " in render([row(price=Decimal("1.2E-7"))], 200)


def test_before_the_first_price_it_says_so() -> None:
    assert render([row(price=None)], 200).startswith("ETHUSDT no price yet  quoted 20")


def test_a_pause_says_why() -> None:
    text = render([row(why_paused="risk: all monitored symbols panic")], 200)
    assert text.endswith("USDT  paused: risk: all monitored symbols panic")


def test_symbols_stand_side_by_side() -> None:
    text = render([row("ETHUSDT"), row("BTCUSDT")], 200)
    assert text.count(" | ") == 1 and text.index("ETHUSDT") < text.index("BTCUSDT")
    assert render([], 200) == ""


def test_what_does_not_fit_ends_in_an_ellipsis() -> None:
    assert render([row()], 20) == "ETHUSDT 2,412.30  q…"
    assert render([row()], 1) == "…"
    assert render([row()], 0) == ""


def test_wide_characters_count_two_columns() -> None:
    assert render([row("以太坊永续")], 6) == "以太…"
    assert render([row("以太坊永续")], 5) == "以太…"
    assert render([row("以太坊永续")], 4) == "以…"


@given(
    texts=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=30)), max_size=4),
    width=st.integers(0, 120),
)
def test_the_line_always_fits_and_holds_nothing_that_moves_the_cursor(
    texts: list[tuple[str, str]], width: int
) -> None:
    text = render([row(symbol, why_paused=why) for symbol, why in texts], width)
    assert sum(map(columns, text)) <= width
    assert text.isprintable()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def redraw(line: StatusLine, times: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []

    async def sleep(delay: float) -> None:
        slept.append(delay)
        if len(slept) == times:
            raise asyncio.CancelledError

    monkeypatch.setattr(status_line.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await line.run()
    return slept


async def test_each_second_the_line_replaces_the_last_and_at_the_end_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, symbols = Terminal(), iter(["AAAA", "BB"])
    line = StatusLine(out, lambda: [row(next(symbols))], width=lambda: 6)
    assert await redraw(line, 2, monkeypatch) == [1.0, 1.0]
    assert out.getvalue() == "\rAAAA…\x1b[K\rBB 2…\x1b[K\r\x1b[K"


async def test_without_a_terminal_nothing_is_shown() -> None:
    out = io.StringIO()
    await StatusLine(out, lambda: [row()]).run()
    assert out.getvalue() == ""


async def test_a_terminal_that_has_gone_away_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = Terminal()
    out.close()
    monkeypatch.setattr(Terminal, "isatty", lambda self: True)
    await redraw(StatusLine(out, lambda: [row()], width=lambda: 80), 3, monkeypatch)
